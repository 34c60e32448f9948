"""Closing a session runs what user code does at the end, without effects."""

from __future__ import annotations

import contextlib
import contextvars
import gc
import logging
import sys
from collections.abc import Callable
from typing import Any

import pytest

from durableflow.replay import OrchestrationContext, closing
from tests.unit.replay.histories import Bench, completed, described, failed, started, turn_started


def wait() -> None: ...
def cleanup() -> None: ...


@pytest.fixture
def bench() -> Bench:
    return Bench(wait, cleanup)


def close_in_the_middle(bench: Bench, function: Callable[..., Any]) -> None:
    session = bench.session(function)
    assert described(session.turn([], [turn_started(), started()])) == ["1 wait()"]
    session.close()
    del session
    gc.collect()


def test_finally_and_with_run_and_may_use_the_context(bench: Bench):
    seen: list[Any] = []

    def order(ctx: OrchestrationContext) -> Any:
        try:
            yield ctx.call_activity("wait")
        finally:
            ctx.set_custom_status("closed")
            task = ctx.call_activity("cleanup")
            others = [ctx.create_timer(1), ctx.wait_for_external_event("x", timeout=1)]
            seen.extend(made.is_complete for made in [task, *others])

    close_in_the_middle(bench, order)

    assert seen == [False, False, False]


def test_a_coroutine_is_closed_the_same_way(bench: Bench):
    seen: list[str] = []

    async def order(ctx: OrchestrationContext) -> None:
        try:
            await ctx.call_activity("wait")
        finally:
            seen.append("closed")

    close_in_the_middle(bench, order)

    assert seen == ["closed"]


def waits_at_the_end(ctx: OrchestrationContext) -> Any:
    try:
        yield ctx.call_activity("wait")
    finally:
        yield ctx.call_activity("cleanup")


async def awaits_at_the_end(ctx: OrchestrationContext) -> None:
    try:
        await ctx.call_activity("wait")
    finally:
        await ctx.call_activity("cleanup")


def raises_at_the_end(ctx: OrchestrationContext) -> Any:
    try:
        yield ctx.call_activity("wait")
    finally:
        raise ValueError("no")


@pytest.mark.parametrize("function", [waits_at_the_end, awaits_at_the_end, raises_at_the_end])
def test_code_that_waits_or_raises_while_it_is_closed_is_discarded_with_a_warning(
    bench: Bench, function: Callable[..., Any], caplog: pytest.LogCaptureFixture
):
    close_in_the_middle(bench, function)

    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert f"Orchestrator '{function.__name__}', instance 'a1'" in record.getMessage()


def swallows(ctx: OrchestrationContext) -> Any:
    while True:
        with contextlib.suppress(BaseException):
            yield ctx.call_activity("wait")


def swallows_and_keeps(ctx: OrchestrationContext) -> Any:
    """What it keeps leads back to it, so that only the collector would free it."""
    last: BaseException | None = None
    while last is None or ctx:
        try:
            yield ctx.call_activity("wait")
        except BaseException as error:  # noqa: BLE001 -- what some users write
            last = error


def swallows_in_a_helper(ctx: OrchestrationContext) -> Any:
    yield from swallows(ctx)


async def swallows_in_a_coroutine(ctx: OrchestrationContext) -> None:
    while True:
        with contextlib.suppress(BaseException):
            await ctx.call_activity("wait")


async def swallows_in_a_helper_of_a_coroutine(ctx: OrchestrationContext) -> None:
    await swallows_in_a_coroutine(ctx)


@pytest.mark.parametrize(
    "function",
    [
        swallows,
        pytest.param(
            swallows_and_keeps,
            marks=pytest.mark.skipif(
                sys.version_info >= (3, 13), reason="its frame cannot be cleared any more"
            ),
        ),
        swallows_in_a_helper,
        swallows_in_a_coroutine,
        swallows_in_a_helper_of_a_coroutine,
    ],
)
def test_code_that_will_not_end_is_dropped_with_one_warning_and_no_word_of_pythons(
    bench: Bench,
    function: Callable[..., Any],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
):
    said: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", said.append)

    close_in_the_middle(bench, function)

    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert f"Orchestrator '{function.__name__}', instance 'a1'" in record.getMessage()
    assert "let GeneratorExit through" in record.getMessage()
    assert said == []
    assert sys.unraisablehook == said.append


def test_what_else_python_says_while_a_session_is_closed_is_still_heard(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    said: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda u: said.append(u.exc_type))

    class Resource:
        def __del__(self) -> None:
            raise LookupError("lost")

    def order(ctx: OrchestrationContext) -> Any:
        resource = Resource()
        yield ctx.call_activity("wait")
        return resource

    close_in_the_middle(bench, order)

    assert said == [LookupError]


def test_an_exception_without_words_is_no_obstacle(
    bench: Bench, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
):
    class UnprintableError(Exception):
        def __str__(self) -> str:
            raise ValueError("no words")

    def order(ctx: OrchestrationContext) -> Any:
        try:
            yield ctx.call_activity("wait")
        finally:
            raise UnprintableError

    close_in_the_middle(bench, order)

    assert "waited or raised" in caplog.text
    assert capsys.readouterr().err == ""


def test_code_that_catches_everything_still_goes_on_as_it_should(bench: Bench):
    def order(ctx: OrchestrationContext) -> Any:
        for _ in range(2):
            try:
                yield ctx.call_activity("wait")
            except BaseException:  # noqa: BLE001 -- what some users write
                continue
        return "done"

    session = bench.session(order)
    session.turn([], [turn_started(), started()])

    assert described(session.turn([], [turn_started(), failed(1)])) == ["2 wait()"]
    assert described(session.turn([], [turn_started(), completed(2)])) == ['completed "done"']


def test_an_interrupt_of_the_program_is_passed_on(bench: Bench):
    def order(ctx: OrchestrationContext) -> Any:
        try:
            yield ctx.call_activity("wait")
        finally:
            raise KeyboardInterrupt

    session = bench.session(order)
    session.turn([], [turn_started(), started()])

    with pytest.raises(KeyboardInterrupt):
        session.close()


def test_logs_are_off_while_a_session_is_closed(bench: Bench, caplog: pytest.LogCaptureFixture):
    def order(ctx: OrchestrationContext) -> Any:
        logger = ctx.create_replay_safe_logger(logging.getLogger("shop"))
        try:
            yield ctx.call_activity("wait")
        finally:
            logger.error("closed")

    close_in_the_middle(bench, order)

    assert caplog.records == []


def test_closing_before_the_start_after_the_end_and_twice_does_nothing(bench: Bench):
    def order(ctx: OrchestrationContext) -> Any:
        yield ctx.call_activity("wait")

    fresh, finished = bench.session(order), bench.session(order)
    finished.turn([], [turn_started(), started()])
    finished.turn([], [turn_started(), completed(1)])

    fresh.close()
    finished.close()
    finished.close()


def test_what_closes_sessions_on_several_threads_leaves_nothing_behind():
    before = sys.unraisablehook
    other_thread, other = contextvars.copy_context(), closing.python_silenced()

    with closing.python_silenced():
        other_thread.run(other.__enter__)
    other_thread.run(other.__exit__, None, None, None)

    assert sys.unraisablehook is before
