"""What plugins are told while an app runs, and traces that they pass on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import pytest

from durableflow import (
    ActivityContext,
    App,
    Client,
    Orchestration,
    OrchestrationContext,
    OrchestrationFailedError,
    RetryPolicy,
    hookimpl,
)
from durableflow.notifications import ActivityFinished, ActivityStarted, TurnFinished
from durableflow.protocol.traces import TraceContext

pytestmark = pytest.mark.e2e

ROOT = TraceContext("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
current_activity: ContextVar[str] = ContextVar("current_activity", default="")


class Diary:
    """Writes down everything."""

    def __init__(self) -> None:
        self.turns: list[TurnFinished] = []
        self.activities: list[ActivityFinished] = []
        self.purged: list[str] = []
        self.cleaned: list[str] = []

    @hookimpl
    def turn_finished(self, turn: TurnFinished) -> None:
        self.turns.append(turn)

    @hookimpl
    def activity_started(self, activity: ActivityStarted) -> None:
        current_activity.set(activity.name)

    @hookimpl
    def activity_finished(self, activity: ActivityFinished) -> None:
        self.activities.append(activity)

    @hookimpl
    def instances_purged(self, instance_ids: list[str]) -> None:
        self.purged.extend(instance_ids)

    @hookimpl
    def register_cleanups(self, instance_ids: list[str]) -> Callable[[], object]:
        return lambda: self.cleaned.extend(instance_ids)

    def outcomes(self, instance_id: str) -> list[str]:
        return [turn.outcome for turn in self.turns if turn.instance_id == instance_id]


class Tracer:
    """Puts every start into one trace."""

    def __init__(self, *, context: TraceContext | None = ROOT) -> None:
        self.context = context

    @hookimpl
    def resolve_trace_context(self, instance_id: str) -> TraceContext | None:
        return self.context


@pytest.fixture
def diary() -> Diary:
    return Diary()


@pytest.fixture
def app(diary: Diary) -> App:
    app = App("notified", task_hub="sqlite://", plugins=[diary])

    @app.activity
    def charge(ctx: ActivityContext, order: str) -> str:
        if order == "flawed" and ctx.attempt == 1:
            raise ValueError("the card was refused")
        return current_activity.get()

    @app.activity
    async def thank(name: str) -> str:
        await asyncio.sleep(0)
        return current_activity.get()

    @app.orchestrator
    def order(ctx: OrchestrationContext, what: str) -> Orchestration[list[str]]:
        policy = RetryPolicy(first_retry_interval=0, max_number_of_attempts=2)
        charged = yield ctx.call_activity(charge, input=what, retry_policy=policy)
        thanked = yield ctx.call_activity(thank, input=what)
        return [charged, thanked]

    @app.orchestrator
    def broken(ctx: OrchestrationContext) -> None:
        raise ValueError("out of order")

    @app.orchestrator
    def family(ctx: OrchestrationContext) -> Orchestration[Any]:
        return (yield ctx.call_sub_orchestrator(order, input="lamp", instance_id="child"))

    return app


@pytest.fixture
def client(app: App) -> Iterator[Client]:
    with app.running() as client:
        yield client


def test_every_turn_is_told_with_what_it_came_to(client: Client, diary: Diary):
    client.run_orchestration("order", input="lamp", instance_id="a")

    turns = [turn for turn in diary.turns if turn.instance_id == "a"]
    assert [(turn.outcome, turn.actions) for turn in turns] == [
        ("waiting", 1),
        ("waiting", 1),
        ("completed", 0),
    ]
    assert {(turn.name, turn.version, turn.replayed_events) for turn in turns} == {
        ("order", None, 0)
    }
    assert [turn.new_events for turn in turns] == [2, 2, 2]
    assert len({turn.started_at for turn in turns}) == 1
    assert turns[0].started_at <= turns[0].time <= turns[-1].time
    assert all(turn.seconds >= 0 for turn in turns)


def test_a_failure_is_told_with_its_reason(client: Client, diary: Diary):
    with pytest.raises(OrchestrationFailedError):
        client.run_orchestration("broken", instance_id="a")

    (turn,) = diary.turns
    assert (turn.outcome, turn.reason) == ("failed", "builtins.ValueError: out of order")


def test_activities_are_told_where_they_run(client: Client, diary: Diary):
    output = client.run_orchestration("order", input="lamp")

    assert output == ["charge", "thank"]
    assert [activity.started.name for activity in diary.activities] == ["charge", "thank"]
    assert all(activity.failure is None for activity in diary.activities)


def test_a_failed_attempt_is_told_as_such(client: Client, diary: Diary):
    client.run_orchestration("order", input="flawed", instance_id="a")

    first, second, _ = diary.activities
    assert first.failure is not None
    assert first.failure.message == "the card was refused"
    assert [first.started.attempt, second.started.attempt] == [1, 2]
    assert first.started.instance_id == "a"
    assert first.started.task_id == second.started.task_id
    assert second.failure is None


def test_purged_instances_are_told_and_cleaned_up_after_once_they_are_gone(
    client: Client, diary: Diary
):
    client.run_orchestration("order", input="lamp", instance_id="a")

    client.purge_orchestration("a")
    client.purge_orchestration("a")

    assert diary.purged == diary.cleaned == ["a"]


def test_a_trace_goes_from_the_start_through_orchestrations_to_activities(app: App, diary: Diary):
    app.register_plugin(Tracer())

    with app.running() as client:
        client.run_orchestration("family", instance_id="parent")

    traces = {turn.instance_id: turn.trace for turn in diary.turns}
    parent, child = traces["parent"], traces["child"]
    assert parent is not None
    assert child is not None
    assert parent.parent == ROOT
    assert child.parent == parent.own
    assert {activity.started.trace for activity in diary.activities} == {child.own}
    assert len({ROOT.span_id, parent.own.span_id, child.own.span_id}) == 3


def test_what_is_not_traced_has_no_trace(app: App, diary: Diary):
    app.register_plugin(Tracer(context=None))

    with app.running() as client:
        client.run_orchestration("order", input="lamp")

    assert {turn.trace for turn in diary.turns} == {None}
    assert {activity.started.trace for activity in diary.activities} == {None}
