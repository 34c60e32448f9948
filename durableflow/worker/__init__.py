"""The worker: takes work items from a task hub and runs the functions of an app."""

from durableflow.worker.context import ActivityContext
from durableflow.worker.worker import Worker

__all__ = ["ActivityContext", "Worker"]
