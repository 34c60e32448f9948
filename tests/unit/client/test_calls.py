from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from durableflow.client.calls import (
    BACKOFF,
    PATIENCE_SECONDS,
    WAIT_PATIENCE_SECONDS,
    Subject,
    once,
    repeatable,
    wait,
)
from durableflow.errors import (
    CallError,
    DurableFlowError,
    InstanceNotFoundError,
    OutcomeUnknownError,
    StorageFullError,
    TaskHubUnavailableError,
    UnsupportedByEngineError,
)
from durableflow.protocol.status import Status

SUBJECT = Subject("suspend_orchestration", "grpc://hub:4001", "a1b2")

Run = Callable[[Any], Any]


class Script:
    """Sends nothing; fails with statuses, and then answers."""

    def __init__(self, *outcomes: Any, takes_seconds: float = 0.0) -> None:
        self.timeouts: list[float | None] = []
        self._outcomes = list(outcomes)
        self._takes_seconds = takes_seconds

    async def __call__(self, timeout: float | None) -> str:
        self.timeouts.append(timeout)
        asyncio.get_running_loop().skip(self._takes_seconds)  # type: ignore[attr-defined]  # ours
        outcome = self._outcomes.pop(0) if len(self._outcomes) > 1 else self._outcomes[0]
        if isinstance(outcome, Status):
            raise CallError(outcome, outcome.name)
        if isinstance(outcome, Exception):
            raise outcome
        return str(outcome)


async def timed(work: Any) -> tuple[Any, float]:
    """Return a result or an error, and how long it took."""
    now = asyncio.get_running_loop().time
    start = now()
    try:
        result: Any = await work
    except DurableFlowError as error:
        result = error
    return result, now() - start


def test_repeatable_call_survives_a_hub_that_comes_back(run: Run) -> None:
    script = Script(Status.UNAVAILABLE, Status.UNAVAILABLE, "done")

    assert run(repeatable(script, SUBJECT)) == "done"
    assert len(script.timeouts) == 3


def test_what_a_hub_calls_a_lost_connection_is_a_hub_that_may_come_back(run: Run) -> None:
    class ConnectionLostError(CallError):
        pass

    script = Script(ConnectionLostError(Status.UNAVAILABLE, "connection reset"), "done")

    assert run(repeatable(script, SUBJECT)) == "done"


def test_repeatable_call_gives_up_when_the_hub_stays_away(run: Run) -> None:
    error, seconds = run(timed(repeatable(Script(Status.UNAVAILABLE), SUBJECT)))

    assert isinstance(error, TaskHubUnavailableError)
    assert "grpc://hub:4001 does not answer" in str(error)
    assert "Start the engine" in str(error)
    assert PATIENCE_SECONDS - BACKOFF.limit_seconds <= seconds <= PATIENCE_SECONDS


@pytest.mark.parametrize(
    ("status", "error", "text"),
    [
        (Status.NOT_FOUND, InstanceNotFoundError, "holds no instance 'a1b2'"),
        (Status.RESOURCE_EXHAUSTED, StorageFullError, "Free some and call again"),
        (Status.DEADLINE_EXCEEDED, TaskHubUnavailableError, "does not answer"),
        (Status.UNIMPLEMENTED, UnsupportedByEngineError, "does not support suspend_orchestration"),
        (Status.FAILED_PRECONDITION, CallError, "FAILED_PRECONDITION"),
    ],
)
def test_statuses_become_errors_that_say_what_to_do(
    run: Run, status: Status, error: type[Exception], text: str
) -> None:
    script = Script(status)

    with pytest.raises(error, match=text):
        run(repeatable(script, SUBJECT))
    assert len(script.timeouts) == 1


def test_errors_without_a_meaning_of_their_own_say_which_call_they_end(run: Run) -> None:
    with pytest.raises(CallError) as caught:
        run(repeatable(Script(Status.INTERNAL), SUBJECT))

    assert caught.value.__notes__ == ["suspend_orchestration of instance 'a1b2' on grpc://hub:4001"]


def test_message_over_the_limit_is_not_taken_for_a_full_disk(run: Run) -> None:
    error = CallError(Status.RESOURCE_EXHAUSTED, "Received message larger than max (5 vs. 4)")

    with pytest.raises(CallError, match="larger than max"):
        run(repeatable(Script(error), SUBJECT))


def test_unrepeatable_call_is_sent_again_if_it_was_not_carried_out(run: Run) -> None:
    assert run(once(Script(Status.UNAVAILABLE, "done"), SUBJECT)) == "done"


@pytest.mark.parametrize("status", [Status.DEADLINE_EXCEEDED, Status.CANCELLED])
def test_unrepeatable_call_without_an_answer_is_not_sent_again(run: Run, status: Status) -> None:
    script = Script(status, "done")

    with pytest.raises(OutcomeUnknownError, match="Look at get_orchestration_history"):
        run(once(script, SUBJECT))
    assert len(script.timeouts) == 1


def test_outcome_that_the_hub_calls_unknown_is_not_sent_again(run: Run) -> None:
    script = Script(OutcomeUnknownError(Status.UNAVAILABLE, "broke"), "done")

    with pytest.raises(OutcomeUnknownError, match="broke"):
        run(once(script, SUBJECT))
    assert len(script.timeouts) == 1


@pytest.mark.parametrize("status", [Status.DEADLINE_EXCEEDED, Status.CANCELLED, Status.UNAVAILABLE])
def test_wait_that_the_engine_ends_goes_on(run: Run, status: Status) -> None:
    script = Script(status, status, "done", takes_seconds=3.0)

    async def waiting() -> Any:
        return await wait(script, SUBJECT, deadline=asyncio.get_running_loop().time() + 20)

    assert run(waiting()) == "done"
    assert [round(timeout or 0) for timeout in script.timeouts] == [20, 17, 14]


def test_wait_ends_with_nothing_at_its_deadline(run: Run) -> None:
    script = Script(Status.UNAVAILABLE)

    async def waiting() -> Any:
        return await wait(script, SUBJECT, deadline=asyncio.get_running_loop().time() + 100)

    result, seconds = run(timed(waiting()))

    assert result is None
    assert seconds == pytest.approx(100, abs=1)


def test_wait_outlasts_a_hub_that_is_away_for_hours(run: Run) -> None:
    script = Script(*[Status.UNAVAILABLE] * 3000, "done")

    async def waiting() -> Any:
        return await wait(script, SUBJECT, deadline=asyncio.get_running_loop().time() + 86_400)

    assert run(waiting()) == "done"


def test_wait_without_a_deadline_outlasts_engines_that_end_it(run: Run) -> None:
    outcomes = [Status.DEADLINE_EXCEEDED] * 50

    assert run(wait(Script(*outcomes, "done", takes_seconds=60), SUBJECT, deadline=None)) == "done"


def test_wait_without_a_deadline_gives_up_on_a_hub_that_stays_away(run: Run) -> None:
    error, seconds = run(timed(wait(Script(Status.UNAVAILABLE), SUBJECT, deadline=None)))

    assert isinstance(error, TaskHubUnavailableError)
    assert seconds == pytest.approx(WAIT_PATIENCE_SECONDS, abs=2 * BACKOFF.limit_seconds)


def test_wait_without_a_deadline_survives_connections_that_break_now_and_then(run: Run) -> None:
    outcomes = [Status.UNAVAILABLE] * 10
    script = Script(*outcomes, "done", takes_seconds=2 * WAIT_PATIENCE_SECONDS)

    assert run(wait(script, SUBJECT, deadline=None)) == "done"


def test_wait_reports_what_is_no_reason_to_wait(run: Run) -> None:
    with pytest.raises(InstanceNotFoundError):
        run(wait(Script(Status.NOT_FOUND), SUBJECT, deadline=None))
