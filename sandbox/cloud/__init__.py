"""Stand-ins of the platform: function instances behind a gateway, who may call what, Cloud Tasks, Cloud Scheduler."""
