"""Entry points by trigger: `public` (anybody), `tasks` (Cloud Tasks), `sweeps` (Cloud Scheduler)."""
