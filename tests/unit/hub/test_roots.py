"""Which results belong to their instance alone: those of instances that have no parent."""

from __future__ import annotations

import pytest

from durableflow._proto import task_hub_pb2 as pb
from durableflow.hub.roots import Roots
from durableflow.protocol.payload_fields import payload_slots


def begun(instance_id: str, parent: str = "") -> pb.OrchestratorRequest:
    request = pb.OrchestratorRequest(instanceId=instance_id)
    request.newEvents.add().orchestratorStarted.SetInParent()
    started = request.newEvents.add().executionStarted
    started.name = "order"
    if parent:
        started.parentInstance.orchestrationInstance.instanceId = parent
    return request


def crosses(
    roots: Roots, instance_id: str, status: int = pb.ORCHESTRATION_STATUS_COMPLETED
) -> bool:
    response = pb.OrchestratorResponse(instanceId=instance_id)
    end = response.actions.add().completeOrchestration
    end.orchestrationStatus = status
    end.result.value = "1"
    (slot,) = roots.refine(payload_slots(response), instance_id)
    return slot.field.crosses


@pytest.fixture
def roots() -> Roots:
    return Roots()


def test_the_result_of_a_root_stays_in_it(roots: Roots):
    roots.note(begun("a"))

    assert not crosses(roots, "a")


def test_the_result_of_a_child_crosses(roots: Roots):
    roots.note(begun("a", parent="p"))

    assert crosses(roots, "a")


def test_of_an_instance_whose_beginning_was_not_seen_the_result_crosses(roots: Roots):
    roots.note(pb.OrchestratorRequest(instanceId="a", newEvents=[pb.HistoryEvent()]))

    assert crosses(roots, "a")


def test_a_turn_without_the_beginning_changes_nothing(roots: Roots):
    roots.note(begun("a"))
    roots.note(pb.OrchestratorRequest(instanceId="a", newEvents=[pb.HistoryEvent()]))

    assert not crosses(roots, "a")


def test_an_id_that_a_child_takes_over_is_no_root_any_more(roots: Roots):
    roots.note(begun("a"))
    roots.note(begun("a", parent="p"))

    assert crosses(roots, "a")


def test_what_an_instance_continues_with_crosses(roots: Roots):
    roots.note(begun("a"))

    assert crosses(roots, "a", pb.ORCHESTRATION_STATUS_CONTINUED_AS_NEW)


def test_a_history_that_is_read_tells_it_too(roots: Roots):
    roots.note_history("a", begun("a").newEvents)

    assert not crosses(roots, "a")


def test_no_more_is_remembered_than_there_is_room_for(roots: Roots):
    for number in range(30_000):
        roots.note(begun(f"a-{number}"))

    assert crosses(roots, "a-0")
    assert not crosses(roots, "a-29999")
