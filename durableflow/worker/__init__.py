"""The worker: takes work items from a task hub and runs the functions of an app."""

from durableflow.worker.cancellation import CancelToken
from durableflow.worker.context import ActivityContext
from durableflow.worker.worker import Worker

__all__ = ["ActivityContext", "CancelToken", "Worker"]
