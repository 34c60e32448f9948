"""Replay alone, without an engine: what a past step costs a worker once it has the history."""

from __future__ import annotations

import time

from benchmarks.systems.app import app
from durableflow._proto import task_hub_pb2 as pb
from durableflow.protocol.times import set_micros
from durableflow.replay import Callees, Session

REPETITIONS = 5
START_MICROS = 1_700_000_000_000_000


def microseconds_per_step(steps: int) -> float:
    """Replay a chain of finished activities a few times, and return the fastest per activity."""
    plan = app.plan()
    definition = plan.registry.find_orchestrator("chain", None)
    assert definition is not None
    past = _chain_of(steps)
    times: list[float] = []
    for _ in range(REPETITIONS):
        session = Session(definition, converter=plan.converter, callees=Callees(plan.registry))
        begin = time.perf_counter()
        turn = session.turn(past[:-2], past[-2:])
        times.append(time.perf_counter() - begin)
        session.close()
        assert len(turn.actions) == 1, "the chain asks for its next activity"
    return min(times) / steps * 1e6


def _chain_of(steps: int) -> list[pb.HistoryEvent]:
    """Make the history of a chain that goes on after so many activities."""
    events: list[pb.HistoryEvent] = []

    def add(number: int = -1) -> pb.HistoryEvent:
        event = pb.HistoryEvent(eventId=number)
        set_micros(event.timestamp, START_MICROS + len(events))
        events.append(event)
        return event

    add().orchestratorStarted.SetInParent()
    started = add().executionStarted
    started.name = "chain"
    started.input.value = str(steps + 1)
    started.orchestrationInstance.instanceId = "replayed"
    for number in range(1, steps + 1):
        scheduled = add(number).taskScheduled
        scheduled.name = "increment"
        scheduled.input.value = str(number - 1)
        add().orchestratorCompleted.SetInParent()
        add().orchestratorStarted.SetInParent()
        completed = add().taskCompleted
        completed.taskScheduledId = number
        completed.result.value = str(number)
    return events
