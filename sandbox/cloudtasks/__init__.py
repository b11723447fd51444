"""A stand-in for Cloud Tasks that speaks its v2 REST API and delivers as the real one does (platform facts in the docs)."""

from sandbox.cloudtasks.queues import Attempt, Queue
from sandbox.cloudtasks.service import CloudTasks

__all__ = ["Attempt", "CloudTasks", "Queue"]
