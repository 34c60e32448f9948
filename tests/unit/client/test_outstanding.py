from __future__ import annotations

from datetime import UTC, datetime

from durableflow._proto import task_hub_pb2 as pb
from durableflow.client.outstanding import outstanding
from durableflow.protocol.times import to_timestamp
from durableflow.registry import Registry


def charge(amount: int) -> None: ...


def registry() -> Registry:
    registry = Registry()
    registry.add_activity(charge)
    return registry


def scheduled(number: int, name: str) -> pb.HistoryEvent:
    return pb.HistoryEvent(eventId=number, taskScheduled=pb.TaskScheduledEvent(name=name))


def completed(number: int) -> pb.HistoryEvent:
    return pb.HistoryEvent(eventId=-1, taskCompleted=pb.TaskCompletedEvent(taskScheduledId=number))


def failed(number: int) -> pb.HistoryEvent:
    return pb.HistoryEvent(eventId=-1, taskFailed=pb.TaskFailedEvent(taskScheduledId=number))


def timer(number: int, fires_at: datetime) -> pb.HistoryEvent:
    created = pb.TimerCreatedEvent(fireAt=to_timestamp(fires_at))
    return pb.HistoryEvent(eventId=number, timerCreated=created)


def test_what_came_back_is_not_waited_for() -> None:
    events = [scheduled(n, "charge") for n in (1, 2)] + [completed(1), failed(2)]

    assert outstanding(events, registry()) == "an event that somebody raises"


def test_activities_are_named_once() -> None:
    events = [scheduled(1, "charge"), scheduled(2, "charge"), completed(1)]

    assert outstanding(events, registry()) == "activity 'charge'"


def test_an_activity_that_the_app_lacks_comes_first_with_what_was_probably_meant() -> None:
    events = [scheduled(1, "charge"), scheduled(2, "chrage")]

    assert outstanding(events, registry()) == (
        "activity 'chrage' (this app has none of this name; did you mean 'charge'?), "
        "activity 'charge'"
    )


def test_a_few_names_stand_for_many() -> None:
    events = [scheduled(n, f"step-{n}") for n in range(1, 8)]

    assert outstanding(events, registry()).endswith("4 activities more")


def test_the_soonest_timer_is_told() -> None:
    late, soon = (datetime(2026, 1, day, tzinfo=UTC) for day in (9, 5))

    text = outstanding([timer(1, late), timer(2, soon)], registry())

    assert text == "a timer that fires at 2026-01-05 00:00:00 UTC"
