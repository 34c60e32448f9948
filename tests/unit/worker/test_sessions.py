from __future__ import annotations

from typing import Any

import pytest

from durableflow.converter import Converter
from durableflow.registry import Registry
from durableflow.replay import Callees, OrchestrationContext, Session
from durableflow.worker.sessions import KeptSession, SessionCache, Tail
from tests.unit.replay.histories import completed, started, turn_started


class Bench:
    """Real sessions, and which of them were closed, in order."""

    def __init__(self, *, most: int = 100, most_bytes: int = 1 << 30) -> None:
        self.closed: list[str] = []
        self.cache = SessionCache(most=most, most_bytes=most_bytes, idle_seconds=10)

    def put(self, name: str, now: float = 0, *, idle: bool = False, input: Any = None) -> None:
        registry = Registry()

        def orchestrator(ctx: OrchestrationContext, input: Any) -> Any:
            try:
                if idle:
                    yield ctx.wait_for_external_event("go")
                else:
                    yield ctx.call_activity("work")
            finally:
                self.closed.append(name)

        definition = registry.add_orchestrator(orchestrator, name="order")
        session = Session(definition, converter=Converter(), callees=Callees(registry))
        session.turn((), [turn_started(), started(input=input)])
        self.cache.put((name, ""), KeptSession(session, "order", "token"), now)


def test_a_kept_session_is_handed_out_once() -> None:
    bench = Bench()
    bench.put("a")

    kept = bench.cache.take(("a", ""))

    assert kept is not None
    assert bench.cache.take(("a", "")) is None
    assert not bench.closed


def test_the_least_recently_used_session_makes_room() -> None:
    bench = Bench(most=2)
    bench.put("a")
    bench.put("b")
    kept = bench.cache.take(("a", ""))
    assert kept is not None
    bench.cache.put(("a", ""), kept, 1)

    bench.put("c", 2)

    assert bench.closed == ["b"]
    assert len(bench.cache) == 2


def test_large_histories_make_room_sooner() -> None:
    bench = Bench(most_bytes=10_000)
    bench.put("a", input="x" * 4000)
    bench.put("b", input="x" * 4000)
    assert not bench.closed

    bench.put("c", input="x" * 4000)

    assert bench.closed == ["a"]


def test_a_session_larger_than_the_cache_is_not_kept() -> None:
    bench = Bench(most_bytes=1000)

    bench.put("a", input="x" * 4000)

    assert bench.closed == ["a"]
    assert len(bench.cache) == 0


def test_only_sessions_that_wait_for_timers_or_events_are_closed_when_idle() -> None:
    bench = Bench()
    bench.put("event", 0, idle=True)
    bench.put("activity", 0)
    bench.put("later", 5, idle=True)

    bench.cache.close_idle(9)
    assert not bench.closed
    bench.cache.close_idle(10)
    assert bench.closed == ["event"]
    bench.cache.close_idle(100)
    assert bench.closed == ["event", "later"]


def test_it_knows_when_the_next_session_will_have_been_idle_for_long() -> None:
    bench = Bench()
    assert bench.cache.seconds_to_idle(0) is None
    bench.put("activity", 0)
    assert bench.cache.seconds_to_idle(0) is None
    bench.put("event", 3, idle=True)

    assert bench.cache.seconds_to_idle(5) == 8
    assert bench.cache.seconds_to_idle(50) == 0


def test_closing_all_leaves_nothing() -> None:
    bench = Bench()
    bench.put("a", idle=True)
    bench.put("b")

    bench.cache.close_all()

    assert bench.closed == ["a", "b"]
    assert len(bench.cache) == 0
    assert bench.cache.seconds_to_idle(0) is None


@pytest.mark.parametrize(
    ("history", "fits"),
    [
        ([started(), completed(1, "a"), completed(2, "b")], True),
        ([started(), completed(1, "a"), completed(2, "b"), completed(3)], True),
        ([started(), completed(1, "a"), completed(2, "other")], False),
        ([started(), completed(2, "b"), completed(1, "a")], False),
        ([started(), completed(1, "a")], False),
    ],
)
def test_a_tail_is_found_only_in_its_place_and_unchanged(history: list[Any], fits: bool) -> None:
    tail = Tail.of([completed(1, "a"), completed(2, "b")], start=1)

    assert tail.is_in(history) is fits
