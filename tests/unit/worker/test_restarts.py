"""Who continues as new without end is told so once."""

from __future__ import annotations

import logging

import pytest

from durableflow._proto import task_hub_pb2 as pb
from durableflow.protocol.actions import complete_orchestration, continue_as_new, create_timer
from durableflow.replay import Turn
from durableflow.worker.restarts import MANY_RESTARTS, Restarts
from tests.unit.replay.histories import raised, started, turn_started


def ended() -> Turn:
    action = complete_orchestration(1, pb.ORCHESTRATION_STATUS_COMPLETED)
    return Turn([action], None, finished=True)


def waits() -> Turn:
    return Turn([create_timer(1, 0)], None, finished=False)


class Bench:
    def __init__(self) -> None:
        self.restarts = Restarts()

    def note(
        self, turn: Turn, *events: pb.HistoryEvent, id: str = "a1", first: bool = True
    ) -> None:
        request = pb.OrchestratorRequest(
            instanceId=id, newEvents=[turn_started(), started(), *events]
        )
        self.restarts.note("order", request, turn, first=first)

    def restart(
        self, *events: pb.HistoryEvent, taken: int = 0, id: str = "a1", first: bool = True
    ) -> None:
        turn = Turn([continue_as_new(1, None, carryover=events[taken:])], None, finished=True)
        self.note(turn, *events, id=id, first=first)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_many_restarts_in_a_row_are_told_once_for_each_instance(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3 * MANY_RESTARTS):
        bench.restart(id="a1")
        bench.restart(raised("early"), id="a2")

    one, other = caplog.records
    assert one.levelno == logging.WARNING
    assert "Orchestrator 'order', instance 'a1', has continued as new 100 times" in one.getMessage()
    assert "Wait for a timer, an event" in one.getMessage()
    assert "instance 'a2'" in other.getMessage()


def test_who_waits_or_takes_an_event_in_between_goes_on_without_a_word(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        for _ in range(MANY_RESTARTS - 1):
            bench.restart()
        bench.note(waits())
        bench.restart(first=False)
        for _ in range(MANY_RESTARTS - 1):
            bench.restart()
        bench.restart(raised("one"), raised("other"), taken=1)

    assert caplog.records == []


def test_what_was_told_is_not_told_again_after_a_wait_but_of_a_new_instance_of_that_id(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        for _ in range(MANY_RESTARTS):
            bench.restart()
        bench.note(waits())
    assert len(caplog.records) == 1

    bench.note(ended())
    for _ in range(MANY_RESTARTS):
        bench.restart()

    assert len(caplog.records) == 2


def test_not_all_are_remembered_for_ever(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(MANY_RESTARTS - 1):
        bench.restart()
    for number in range(1000):
        bench.restart(id=f"other {number}")
    bench.restart()

    assert caplog.records == []
