"""A stand-in for Cloud Scheduler: unix-cron jobs in UTC that call HTTP targets on the sandbox's clock."""

from sandbox.cloudtasks.oidc import Oidc
from sandbox.scheduler.scheduler import Job, Run, Scheduler

__all__ = ["Job", "Oidc", "Run", "Scheduler"]
