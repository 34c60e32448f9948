from __future__ import annotations

from datetime import UTC, datetime

from durableflow._proto import task_hub_pb2 as pb
from durableflow.client.outstanding import Outstanding, outstanding
from durableflow.protocol.times import to_timestamp


def scheduled(number: int, name: str, version: str = "") -> pb.HistoryEvent:
    event = pb.HistoryEvent(eventId=number, taskScheduled=pb.TaskScheduledEvent(name=name))
    if version:
        event.taskScheduled.version.value = version
    return event


def completed(number: int) -> pb.HistoryEvent:
    return pb.HistoryEvent(eventId=-1, taskCompleted=pb.TaskCompletedEvent(taskScheduledId=number))


def failed(number: int) -> pb.HistoryEvent:
    return pb.HistoryEvent(eventId=-1, taskFailed=pb.TaskFailedEvent(taskScheduledId=number))


def child(number: int, name: str) -> pb.HistoryEvent:
    created = pb.SubOrchestrationInstanceCreatedEvent(name=name, instanceId=f"a:{number:04x}")
    return pb.HistoryEvent(eventId=number, subOrchestrationInstanceCreated=created)


def timer(number: int, fires_at: datetime) -> pb.HistoryEvent:
    created = pb.TimerCreatedEvent(fireAt=to_timestamp(fires_at))
    return pb.HistoryEvent(eventId=number, timerCreated=created)


def test_what_came_back_is_not_waited_for() -> None:
    child_completed, child_failed, fired = pb.HistoryEvent(), pb.HistoryEvent(), pb.HistoryEvent()
    child_completed.subOrchestrationInstanceCompleted.taskScheduledId = 3
    child_failed.subOrchestrationInstanceFailed.taskScheduledId = 4
    fired.timerFired.timerId = 5
    events = [
        *(scheduled(number, "charge") for number in (1, 2)),
        *(child(number, "order") for number in (3, 4)),
        timer(5, datetime(2026, 1, 5, tzinfo=UTC)),
        completed(1),
        failed(2),
        child_completed,
        child_failed,
        fired,
    ]

    assert outstanding(events) == Outstanding()


def test_activities_are_named_once_by_name_and_version() -> None:
    events = [scheduled(1, "charge"), scheduled(2, "charge"), scheduled(3, "charge", "2")]

    assert outstanding([*events, completed(1)]).activities == (("charge", ""), ("charge", "2"))


def test_an_attempt_after_a_failure_is_waited_for() -> None:
    events = [scheduled(1, "charge"), failed(1), scheduled(1, "charge")]

    assert outstanding(events).activities == (("charge", ""),)


def test_children_are_named_with_their_ids() -> None:
    assert outstanding([child(1, "order")]).children == (("order", "a:0001"),)


def test_the_soonest_timer_is_told() -> None:
    late, soon = (datetime(2026, 1, day, tzinfo=UTC) for day in (9, 5))

    assert outstanding([timer(1, late), timer(2, soon)]).next_timer == soon


def test_an_execution_without_a_turn_is_told_from_one_that_waits_for_nothing() -> None:
    assert not outstanding([]).has_begun
    assert outstanding([scheduled(1, "charge"), completed(1)]).has_begun
