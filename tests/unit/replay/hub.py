"""A task hub as small as can be: it turns the actions of a turn into events, in any order."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable

from durableflow._proto import task_hub_pb2 as pb
from durableflow.replay import Turn
from tests.unit.replay.histories import (
    child_completed,
    child_created,
    child_failed,
    completed,
    event,
    event_sent,
    failed,
    started,
    timer_fired,
    turn_started,
)


class Hub:
    """The history of one instance, and what may happen to it next.

    Args:
        failures: How many attempts of an activity or a child fail, by its name.
        input: Of the first execution.
    """

    def __init__(self, failures: Callable[[str], int], input: object = None) -> None:
        self._failures = failures
        self._attempts: Counter[int] = Counter()
        self._seconds = 0
        self.executions = 1
        self.history: list[pb.HistoryEvent] = []
        self.answers = [started(input=input)]

    def batch(self, events: list[pb.HistoryEvent]) -> list[pb.HistoryEvent]:
        """Make the new events of a turn."""
        for each in events:
            if each in self.answers:
                self.answers.remove(each)
        self._seconds += 1
        return [turn_started(self._seconds), *events]

    def apply(self, new: list[pb.HistoryEvent], turn: Turn) -> None:
        """Carry a turn's actions out."""
        self.history += new
        for action in turn.actions:
            if action.HasField("scheduleTask"):
                self._schedule(action)
            elif action.HasField("createSubOrchestration"):
                self._start_child(action)
            elif action.HasField("createTimer"):
                confirmation = event(action.id)
                confirmation.timerCreated.fireAt.CopyFrom(action.createTimer.fireAt)
                self.history.append(confirmation)
                self.answers.append(timer_fired(action.id))
            elif action.HasField("sendEvent"):
                sent = action.sendEvent
                self.history.append(event_sent(action.id, sent.instance.instanceId, sent.name))
        closing = event()
        closing.orchestratorCompleted.SetInParent()
        self.history.append(closing)
        if turn.finished:
            closing = event()
            closing.executionCompleted.SetInParent()
            self.history.append(closing)

    def continues(self, turn: Turn) -> bool:
        """Start the next execution, if that is how the last one ended."""
        complete = turn.actions[-1].completeOrchestration if turn.finished else None
        if (
            complete is None
            or complete.orchestrationStatus != pb.ORCHESTRATION_STATUS_CONTINUED_AS_NEW
        ):
            return False
        self.executions += 1
        self.history = []
        self._attempts.clear()
        text = complete.result.value if complete.HasField("result") else "null"
        execution_id = f"e{self.executions}"
        self.answers = [
            started(input=json.loads(text), execution_id=execution_id),
            *complete.carryoverEvents,
        ]
        return True

    def _schedule(self, action: pb.OrchestratorAction) -> None:
        task = action.scheduleTask
        confirmation = event(action.id)
        confirmation.taskScheduled.name = task.name
        confirmation.taskScheduled.input.CopyFrom(task.input)
        self.history.append(confirmation)
        self._attempts[action.id] += 1
        if self._attempts[action.id] <= self._failures(task.name):
            self.answers.append(failed(action.id, f"attempt {self._attempts[action.id]}"))
        else:
            self.answers.append(completed(action.id, f"{task.name} {task.input.value}"))

    def _start_child(self, action: pb.OrchestratorAction) -> None:
        child = action.createSubOrchestration
        self.history.append(child_created(action.id, child.name, child.instanceId))
        self._attempts[action.id] += 1
        if self._attempts[action.id] <= self._failures(child.name):
            self.answers.append(child_failed(action.id, f"attempt {self._attempts[action.id]}"))
        else:
            self.answers.append(child_completed(action.id, f"{child.instanceId} is {child.name}"))
