"""Actions as they travel."""

from __future__ import annotations

import pytest

from durableflow._proto import task_hub_pb2 as pb
from durableflow.protocol.actions import complete_orchestration, create_timer, schedule_task
from durableflow.protocol.failures import FailureDetails
from durableflow.protocol.times import micros_of


@pytest.mark.parametrize("text", [None, "", '"x"'])
def test_absent_and_empty_payloads_differ(text: str | None):
    scheduled = schedule_task(1, "charge", input=text, version=text).scheduleTask
    completed = complete_orchestration(
        2, pb.ORCHESTRATION_STATUS_COMPLETED, result=text
    ).completeOrchestration

    for message, field in [(scheduled, "input"), (scheduled, "version"), (completed, "result")]:
        assert message.HasField(field) == (text is not None)
        assert getattr(message, field).value == (text or "")


def test_a_call_carries_its_number_name_and_tags():
    action = schedule_task(7, "charge", tags={"team": "a"})

    assert (action.id, action.scheduleTask.name) == (7, "charge")
    assert dict(action.scheduleTask.tags) == {"team": "a"}


def test_a_timer_carries_its_time():
    action = create_timer(3, 1_900_000_000_123_456)

    assert action.id == 3
    assert micros_of(action.createTimer.fireAt) == 1_900_000_000_123_456


def test_a_failed_end_carries_the_failure():
    action = complete_orchestration(
        4, pb.ORCHESTRATION_STATUS_FAILED, failure=FailureDetails("a.B", "c")
    )

    assert action.completeOrchestration.failureDetails.errorType == "a.B"
    assert not action.completeOrchestration.HasField("result")
