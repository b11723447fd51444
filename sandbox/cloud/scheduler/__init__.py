"""A stand-in for Cloud Scheduler: unix-cron jobs that call HTTP targets on the sandbox's clock."""

from sandbox.cloud.cloudtasks.oidc import Oidc
from sandbox.cloud.scheduler.api import make_app
from sandbox.cloud.scheduler.jobs import Job
from sandbox.cloud.scheduler.scheduler import Run, Scheduler

__all__ = ["Job", "Oidc", "Run", "Scheduler", "make_app"]
