"""The table of payload fields, and the search for payloads in messages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from durableflow._proto import task_hub_pb2 as pb
from durableflow.protocol.payload_fields import OTHERS, PAYLOADS, REPLAYED, payload_slots

NOT_PAYLOADS = [field for fields in OTHERS.values() for field in fields]


def optional_texts(messages: Any) -> Iterator[str]:
    for message in messages:
        for field in message.fields:
            kind = field.message_type
            if kind is not None and kind.full_name == "google.protobuf.StringValue":
                yield f"{message.name}.{field.name}"
        yield from optional_texts(message.nested_types)


def test_every_optional_text_of_the_protocol_is_in_one_of_the_two_tables():
    found = sorted(optional_texts(pb.DESCRIPTOR.message_types_by_name.values()))

    assert len(found) == 91
    assert sorted([*PAYLOADS, *NOT_PAYLOADS]) == found


def test_what_replay_reads_is_a_payload():
    assert set(PAYLOADS) >= REPLAYED


@pytest.mark.parametrize("key", sorted(PAYLOADS))
def test_a_payload_says_what_it_is(key: str):
    field = PAYLOADS[key]

    assert f"{field.message}.{field.name}" == key
    assert field.what


def completed(result: str) -> pb.HistoryEvent:
    event = pb.HistoryEvent()
    event.taskCompleted.result.value = result
    return event


def scheduled(input: str) -> pb.HistoryEvent:
    event = pb.HistoryEvent()
    event.taskScheduled.input.value = input
    event.taskScheduled.version.value = "not a payload"
    return event


def work_item() -> pb.WorkItem:
    item = pb.WorkItem()
    item.orchestratorRequest.instanceId = "a"
    item.orchestratorRequest.executionId.value = "not a payload"
    item.orchestratorRequest.pastEvents.extend([scheduled("1"), completed("2")])
    item.orchestratorRequest.newEvents.add().timerFired.timerId = 3
    item.orchestratorRequest.newEvents.append(completed("3"))
    return item


def texts(message: Any, **options: bool) -> list[str]:
    return [slot.text for slot in payload_slots(message, **options)]


def test_payloads_are_found_however_deep():
    assert texts(work_item()) == ["1", "2", "3"]


def test_what_only_repeats_what_was_sent_can_be_left_out():
    assert texts(work_item(), replayed_only=True) == ["2", "3"]


def test_a_payload_knows_the_event_that_it_belongs_to():
    item = work_item()
    (_, slot) = payload_slots(item, replayed_only=True)

    assert slot.event == item.orchestratorRequest.newEvents[1]


def test_a_payload_can_be_replaced_in_its_message():
    item = work_item()
    for slot in payload_slots(item):
        slot.text = f"<{slot.text}>"

    assert texts(item) == ["<1>", "<2>", "<3>"]


def test_every_kind_of_action_is_searched():
    response = pb.OrchestratorResponse()
    response.customStatus.value = "status"
    response.actions.add().scheduleTask.input.value = "activity"
    response.actions.add().createSubOrchestration.input.value = "child"
    response.actions.add().sendEvent.data.value = "event"
    response.actions.add().createTimer.SetInParent()
    end = response.actions.add().completeOrchestration
    end.result.value = "end"
    end.details.value = "not a payload"
    end.carryoverEvents.add().eventRaised.input.value = "carried over"

    assert sorted(texts(response)) == [
        "activity",
        "carried over",
        "child",
        "end",
        "event",
        "status",
    ]


def test_an_absent_payload_is_no_payload_and_an_empty_one_is():
    assert texts(pb.ActivityResponse()) == []

    empty = pb.ActivityResponse()
    empty.result.value = ""
    assert texts(empty) == [""]
