"""Wherever a history is cut into past and new events, the actions in total are the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from attrs import frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from durableflow import RetryPolicy
from durableflow._proto import task_hub_pb2 as pb
from durableflow.replay import (
    CancellableTask,
    Orchestration,
    OrchestrationContext,
    Session,
    Task,
    Turn,
    when_all,
    when_any,
)
from tests.unit.replay.histories import Bench, raised, resumed, suspended
from tests.unit.replay.hub import Hub

MOST_TURNS = 60
NAMES = ("solid", "shaky", "hopeless")
FAILURES = {"solid": 0, "shaky": 2, "hopeless": 99}
POLICY = RetryPolicy(first_retry_interval=5, max_number_of_attempts=3, backoff_coefficient=2)

Step: TypeAlias = tuple[str, Any]

steps = st.one_of(
    st.tuples(st.just("call"), st.sampled_from(NAMES)),
    st.tuples(st.just("retry"), st.sampled_from(NAMES)),
    st.tuples(st.just("all"), st.lists(st.sampled_from(NAMES), max_size=4)),
    st.tuples(st.just("any"), st.lists(st.sampled_from(NAMES), min_size=1, max_size=3)),
    st.tuples(st.just("race"), st.sampled_from(NAMES)),
    st.tuples(st.just("timer"), st.integers(-5, 100)),
    st.tuples(st.just("event"), st.sampled_from(["go", "stop"])),
    st.tuples(st.just("patience"), st.sampled_from(["go", "stop"])),
    st.tuples(st.just("forget"), st.sampled_from(NAMES)),
    st.tuples(st.just("cancel"), st.integers(1, 9)),
)
programs = st.lists(steps, min_size=1, max_size=5)


def task_of(ctx: OrchestrationContext, step: Step, number: int, policy: RetryPolicy) -> Task[Any]:
    """Ask for what a step of a program says."""
    kind, what = step
    ctx.set_custom_status([number, kind])

    def call(name: str) -> Task[Any]:
        return ctx.call_activity(name, input=number)

    def retry(name: str) -> Task[Any]:
        return ctx.call_activity(name, input=number, retry_policy=policy)

    asks: dict[str, Callable[[], Task[Any]]] = {
        "call": lambda: call(what),
        "retry": lambda: retry(what),
        "all": lambda: when_all([call(name) for name in what]),
        "any": lambda: when_any([call(name) for name in what]),
        "race": lambda: when_any(retry(what), ctx.create_timer(number)),
        "timer": lambda: ctx.create_timer(what),
        "event": lambda: ctx.wait_for_external_event(what),
        "patience": lambda: ctx.wait_for_external_event(what, timeout=number),
        "forget": lambda: forget(call(what)),
        "cancel": lambda: cancelled(ctx.create_timer(what)),
    }
    return asks[kind]()


def forget(_: Task[Any]) -> Task[Any]:
    return when_all([])


def cancelled(timer: CancellableTask[None]) -> Task[None]:
    timer.cancel()
    return timer


def seen(ctx: OrchestrationContext, value: Any) -> str:
    """Put what a step brought into words, with all that must be the same in each replay."""
    if isinstance(value, Task):
        value = repr(value)
    return f"{value} {ctx.current_utc_datetime} {ctx.new_uuid()}"


def generator_of(program: list[Step], policy: RetryPolicy = POLICY) -> Callable[..., Any]:
    def order(ctx: OrchestrationContext) -> Orchestration[list[str]]:
        trace = []
        for number, step in enumerate(program):
            try:
                value = yield task_of(ctx, step, number, policy)
            except Exception as error:  # noqa: BLE001 -- whatever it is becomes part of the result
                value = repr(error)
            trace.append(seen(ctx, value))
        return trace

    return order


def coroutine_of(program: list[Step], policy: RetryPolicy = POLICY) -> Callable[..., Any]:
    async def order(ctx: OrchestrationContext) -> list[str]:
        trace = []
        for number, step in enumerate(program):
            try:
                value = await task_of(ctx, step, number, policy)
            except Exception as error:  # noqa: BLE001 -- whatever it is becomes part of the result
                value = repr(error)
            trace.append(seen(ctx, value))
        return trace

    return order


@frozen
class Observed:
    """A turn that was made, with the events before it and those that it brought."""

    past: list[pb.HistoryEvent]
    new: list[pb.HistoryEvent]
    turn: Turn


def make_turn(session: Session, past: list[pb.HistoryEvent], new: list[pb.HistoryEvent]) -> Turn:
    turn = session.turn(past, new)
    assert isinstance(turn, Turn), turn.reason
    return turn


def batches(data: st.DataObject, hub: Hub) -> list[pb.HistoryEvent]:
    """Draw what happens next."""
    if not hub.history:
        return list(hub.answers)
    count = data.draw(st.integers(0, min(3, len(hub.answers))))
    answers = data.draw(st.permutations(hub.answers))[:count]
    events = [raised(name, n) for n, name in enumerate(data.draw(event_names))]
    happened = data.draw(st.permutations([*answers, *events]))
    return data.draw(suspensions)(happened)


event_names = st.lists(st.sampled_from(["go", "GO", "stop"]), max_size=2)
suspensions = st.sampled_from(
    [
        lambda events: events,
        lambda events: [suspended(), *events, resumed()],
        lambda events: [*events[:1], suspended(), *events[1:]],
        lambda events: [*events, resumed()],
    ]
)


def live(data: st.DataObject, bench: Bench, program: list[Step]) -> list[Observed]:
    """Run a program in one session, with answers and events in any order."""
    hub = Hub(lambda name: FAILURES[name])
    session = bench.session(generator_of(program))
    observed: list[Observed] = []
    for number in range(MOST_TURNS):
        # Later turns are made to come to an end.
        happened = batches(data, hub) if number < 8 else [resumed(), *hub.answers, *finals()]
        new = hub.batch(happened)
        past = list(hub.history)
        turn = make_turn(session, [], new)
        observed.append(Observed(past, new, turn))
        hub.apply(new, turn)
        assert session.position == len(hub.history)
        if turn.finished:
            return observed
    raise AssertionError(program)


def finals() -> list[pb.HistoryEvent]:
    return [raised("go", 0), raised("stop", 0)]


def same(one: Turn, other: Turn) -> bool:
    return (
        [a.SerializeToString(deterministic=True) for a in one.actions]
        == [a.SerializeToString(deterministic=True) for a in other.actions]
        and one.custom_status == other.custom_status
        and one.finished == other.finished
    )


@settings(deadline=None, max_examples=60)
@given(data=st.data(), program=programs)
def test_a_replay_from_any_cut_asks_for_what_the_session_asked_for(
    data: st.DataObject, program: list[Step]
):
    bench = Bench()
    generator, coroutine = generator_of(program), coroutine_of(program)

    observed = data.draw(st.sampled_from(live(data, bench, program)))
    history = observed.past + observed.new

    for cut in range(len(history) + 1):
        for function in (generator, coroutine):
            bench = Bench()
            replayed = make_turn(bench.session(function), history[:cut], history[cut:])
            assert same(replayed, observed.turn), (cut, program)


@settings(deadline=None, max_examples=60)
@given(data=st.data(), program=programs)
def test_sessions_that_are_dropped_now_and_then_ask_for_the_same(
    data: st.DataObject, program: list[Step]
):
    bench = Bench()
    session = bench.session(coroutine := coroutine_of(program))
    is_fresh = True

    for observed in live(data, Bench(), program):
        if not is_fresh and data.draw(st.booleans()):
            session.close()
            session, is_fresh = bench.session(coroutine), True
        turn = make_turn(session, observed.past if is_fresh else [], observed.new)
        assert same(turn, observed.turn)
        assert session.position == len(observed.past) + len(observed.new) + len(turn.actions) + 1
        is_fresh = False


@settings(deadline=None, max_examples=60)
@given(data=st.data(), program=programs, attempts=st.integers(1, 5))
def test_a_history_fits_whatever_the_retry_policy_has_become(
    data: st.DataObject, program: list[Step], attempts: int
):
    observed = data.draw(st.sampled_from(live(data, Bench(), program)))
    today = RetryPolicy(first_retry_interval=7, max_number_of_attempts=attempts)

    session = Bench().session(generator_of(program, today))

    make_turn(session, observed.past, observed.new)
