"""The steps of the commands, a module each: `NAME`, `TITLE` and `look` (infra.deploy.engine.Step)."""
