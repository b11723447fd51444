"""Entry points by trigger: `public` (any caller), `tasks` (Cloud Tasks), `sweeps` (Cloud Scheduler)."""
