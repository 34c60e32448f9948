from __future__ import annotations

import json
from datetime import UTC, datetime

from durableflow._proto import task_hub_pb2 as pb
from durableflow.client.history import event_of
from durableflow.protocol.times import to_timestamp

MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_event_tells_its_kind_and_what_it_carries() -> None:
    event = event_of(
        pb.HistoryEvent(
            eventId=-1,
            timestamp=to_timestamp(MOMENT),
            taskCompleted={"taskScheduledId": 0, "result": {"value": '"ok"'}},
        )
    )

    assert event.event_id == -1
    assert event.timestamp == MOMENT
    assert event.kind == "task_completed"
    assert event.attributes == {"task_scheduled_id": 0, "result": '"ok"'}


def test_absent_payloads_are_left_out() -> None:
    event = event_of(pb.HistoryEvent(taskCompleted={"taskScheduledId": 3}))

    assert event.attributes == {"task_scheduled_id": 3}


def test_nested_messages_maps_and_times_become_plain_values() -> None:
    event = event_of(
        pb.HistoryEvent(
            executionStarted={
                "name": "order",
                "orchestrationInstance": {"instanceId": "a1", "executionId": {"value": "e1"}},
                "scheduledStartTimestamp": to_timestamp(MOMENT),
                "tags": {"team": "blue"},
            }
        )
    )

    assert event.attributes["orchestration_instance"] == {"instance_id": "a1", "execution_id": "e1"}
    assert event.attributes["scheduled_start_timestamp"] == MOMENT
    assert event.attributes["tags"] == {"team": "blue"}


def test_statuses_are_named() -> None:
    event = event_of(
        pb.HistoryEvent(
            executionCompleted={"orchestrationStatus": "ORCHESTRATION_STATUS_COMPLETED"}
        )
    )

    assert event.attributes == {"orchestration_status": "COMPLETED"}


def test_failures_keep_their_chain_and_properties() -> None:
    details = pb.TaskFailureDetails(
        errorType="a.B",
        innerFailure=pb.TaskFailureDetails(errorType="c.D"),
    )
    details.properties["code"].number_value = 7

    event = event_of(pb.HistoryEvent(taskFailed={"taskScheduledId": 1, "failureDetails": details}))

    failure = event.attributes["failure_details"]
    assert failure["inner_failure"]["error_type"] == "c.D"
    assert failure["properties"] == {"code": 7}


def test_lists_stay_lists() -> None:
    event = event_of(pb.HistoryEvent(entityLockRequested={"lockSet": ["@a@1", "@b@2"]}))

    assert event.attributes["lock_set"] == ["@a@1", "@b@2"]


def test_events_can_be_written_as_json() -> None:
    event = event_of(
        pb.HistoryEvent(
            eventId=2, timestamp=to_timestamp(MOMENT), timerCreated={"fireAt": to_timestamp(MOMENT)}
        )
    )

    assert json.loads(json.dumps(event.to_dict())) == {
        "event_id": 2,
        "timestamp": "2026-01-02T03:04:05+00:00",
        "kind": "timer_created",
        "attributes": {"fire_at": "2026-01-02T03:04:05+00:00"},
    }


def test_an_event_without_a_kind_is_unknown() -> None:
    event = event_of(pb.HistoryEvent(eventId=1))

    assert (event.kind, event.attributes) == ("unknown", {})
