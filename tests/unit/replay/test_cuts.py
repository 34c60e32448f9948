"""Wherever a history is cut into past and new events, the actions in total are the same."""

from __future__ import annotations

import json
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
POLICY = RetryPolicy(
    first_retry_interval=5, max_number_of_attempts=3, backoff_coefficient=2, jitter=0.5
)
MOST_EXECUTIONS = 3

Step: TypeAlias = tuple[str, Any]

limits = st.none() | st.integers(1, 3)
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
    st.tuples(st.just("child"), st.sampled_from(NAMES)),
    st.tuples(st.just("raise"), st.sampled_from(NAMES)),
    st.tuples(st.just("map"), st.tuples(st.sampled_from(NAMES), st.integers(0, 4), limits)),
    st.tuples(st.just("send"), st.sampled_from(["go", "stop"])),
    st.tuples(st.just("again"), st.booleans()),
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
        "child": lambda: ctx.call_sub_orchestrator(what, input=number),
        "raise": lambda: ctx.call_sub_orchestrator(what, retry_policy=policy),
        "map": lambda: ctx.map(what[0], list(range(what[1])), limit=what[2], retry_policy=policy),
        "send": lambda: sent(ctx, what),
        "again": lambda: when_all([]),
    }
    return asks[kind]()


def forget(_: Task[Any]) -> Task[Any]:
    return when_all([])


def cancelled(timer: CancellableTask[None]) -> Task[None]:
    timer.cancel()
    return timer


def sent(ctx: OrchestrationContext, name: str) -> Task[Any]:
    ctx.send_event("b2", name)
    return when_all([])


def continues(ctx: OrchestrationContext, step: Step, execution: int) -> bool:
    """Continue as new, if a step of a program says so and there have not been too many."""
    if step[0] != "again" or execution >= MOST_EXECUTIONS:
        return False
    ctx.continue_as_new(execution + 1, save_events=step[1])
    return True


def seen(ctx: OrchestrationContext, value: Any) -> str:
    """Put what a step brought into words, with all that must be the same in each replay."""
    if isinstance(value, Task):
        value = repr(value)
    return f"{value} {ctx.current_utc_datetime} {ctx.new_uuid()}"


def generator_of(program: list[Step], policy: RetryPolicy = POLICY) -> Callable[..., Any]:
    def order(ctx: OrchestrationContext, execution: int = 1) -> Orchestration[list[str]]:
        trace: list[str] = []
        for number, step in enumerate(program):
            try:
                value = yield task_of(ctx, step, number, policy)
            except Exception as error:  # noqa: BLE001 -- whatever it is becomes part of the result
                value = repr(error)
            trace.append(seen(ctx, value))
            if continues(ctx, step, execution):
                return trace
        return trace

    return order


def coroutine_of(program: list[Step], policy: RetryPolicy = POLICY) -> Callable[..., Any]:
    async def order(ctx: OrchestrationContext, execution: int = 1) -> list[str]:
        trace: list[str] = []
        for number, step in enumerate(program):
            try:
                value = await task_of(ctx, step, number, policy)
            except Exception as error:  # noqa: BLE001 -- whatever it is becomes part of the result
                value = repr(error)
            trace.append(seen(ctx, value))
            if continues(ctx, step, execution):
                return trace
        return trace

    return order


@frozen
class Observed:
    """A turn that was made, with the events before it and those that it brought."""

    execution: int
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
        observed.append(Observed(hub.executions, past, new, turn))
        hub.apply(new, turn)
        assert session.position == len(hub.history)
        if hub.continues(turn):
            session = bench.session(generator_of(program))
        elif turn.finished:
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
    is_fresh, execution = True, 1

    for observed in live(data, Bench(), program):
        is_dropped = observed.execution != execution or data.draw(st.booleans())
        if not is_fresh and is_dropped:
            session.close()
            session, is_fresh = bench.session(coroutine), True
        execution = observed.execution
        turn = make_turn(session, observed.past if is_fresh else [], observed.new)
        assert same(turn, observed.turn)
        end = len(observed.past) + len(observed.new) + len(turn.actions) + 1
        assert session.position == end
        is_fresh = False


choices = st.sampled_from([None, ValueError, KeyError, lambda failure: "2" in failure.message])


@settings(deadline=None, max_examples=60)
@given(data=st.data(), program=programs, attempts=st.integers(1, 5))
def test_a_history_fits_whatever_the_retry_policy_has_become(
    data: st.DataObject, program: list[Step], attempts: int
):
    observed = data.draw(st.sampled_from(live(data, Bench(), program)))
    today = RetryPolicy(
        first_retry_interval=7, max_number_of_attempts=attempts, retry_on=data.draw(choices)
    )

    session = Bench().session(generator_of(program, today))

    make_turn(session, observed.past, observed.new)


# Events around continue-as-new


def listener(patience: int, is_prepared: bool) -> Callable[..., Any]:
    """Take some events an execution, and others between them; end with what was heard."""

    def order(ctx: OrchestrationContext, heard: list[int]) -> Orchestration[list[int]]:
        prepared = ctx.wait_for_external_event("go") if is_prepared else None
        for _ in range(patience):
            yield ctx.call_activity("solid")
            task = prepared or ctx.wait_for_external_event("GO")
            prepared = ctx.wait_for_external_event("go") if is_prepared else None
            number = yield task
            if number is None:
                return heard
            heard.append(number)
        ctx.continue_as_new(heard)
        return []

    return order


@settings(deadline=None, max_examples=60)
@given(data=st.data(), patience=st.integers(1, 3), is_prepared=st.booleans())
def test_each_event_is_heard_once_and_in_order_however_often_the_code_starts_over(
    data: st.DataObject, patience: int, is_prepared: bool
):
    bench = Bench()
    hub = Hub(lambda name: 0, input=[])
    function = listener(patience, is_prepared)
    session = bench.session(function)
    count = 0

    for number in range(MOST_TURNS):
        events = []
        if number < 8:
            for _ in range(data.draw(st.integers(0, 3))):
                events.append(raised("Go", count))
                count += 1
        else:
            events.append(raised("go"))
        begin = [] if hub.history else hub.answers
        rest = [*([] if begin else hub.answers), *events]
        happened = [*begin, *(interleaved(data, rest))]
        new = hub.batch(happened)
        is_replayed = data.draw(st.booleans())
        if is_replayed:
            session = bench.session(function)
        turn = make_turn(session, list(hub.history) if is_replayed else [], new)
        hub.apply(new, turn)
        if hub.continues(turn):
            session = bench.session(function)
        elif turn.finished:
            heard = json.loads(turn.actions[-1].completeOrchestration.result.value)
            assert heard == list(range(count))
            return
    raise AssertionError(count)


def interleaved(data: st.DataObject, events: list[pb.HistoryEvent]) -> list[pb.HistoryEvent]:
    """Put answers between the events, which keep their order."""
    order = data.draw(st.permutations(range(len(events))))
    numbers = iter(sorted(i for i in order if events[i].HasField("eventRaised")))
    return [
        events[next(numbers)] if events[i].HasField("eventRaised") else events[i] for i in order
    ]
