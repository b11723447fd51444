"""A stand-in for Cloud Tasks that speaks its v2 REST API and delivers as the real one does (platform facts in the docs)."""

from sandbox.cloud.cloudtasks.queues import Attempt, Queue
from sandbox.cloud.cloudtasks.stand_in import CloudTasks

__all__ = ["Attempt", "CloudTasks", "Queue"]
