"""Functions that Cloud Scheduler calls; one runner each, by a Postgres advisory lock."""
