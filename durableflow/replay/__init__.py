"""The orchestrator state machine: from history events to the next actions.

Pure: there is no clock, randomness, thread or I/O in here.  Times and ids come from the history.
"""

from durableflow.replay.callees import Callees as Callees
from durableflow.replay.context import OrchestrationContext as OrchestrationContext
from durableflow.replay.determinism import Diverged as Diverged
from durableflow.replay.session import Session as Session
from durableflow.replay.session import Turn as Turn
from durableflow.replay.tasks import CancellableTask as CancellableTask
from durableflow.replay.tasks import Orchestration as Orchestration
from durableflow.replay.tasks import Task as Task
from durableflow.replay.tasks import when_all as when_all
from durableflow.replay.tasks import when_any as when_any
