"""Carries one call to a task hub through to its end: retries, deadlines, errors with advice.

Only calls that may be carried out twice are tried again, with full jitter between the tries;
``once`` is for the others.  Everything here runs on the hub loop.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Final, NoReturn, TypeVar

import attrs

from durableflow.errors import (
    CallError,
    InstanceAlreadyExistsError,
    InstanceNotFoundError,
    OutcomeUnknownError,
    StorageFullError,
    TaskHubUnavailableError,
    UnsupportedByEngineError,
)
from durableflow.hub.backoff import Backoff
from durableflow.hub.profiles import FeatureMissingError
from durableflow.protocol.status import Status

T = TypeVar("T")

ANSWER_SECONDS: Final = 60.0
"""How long a hub may take to answer one call that does not wait for an instance."""
PATIENCE_SECONDS: Final = 10.0
"""How long a hub may be away before a call gives up: enough for a takeover or a restart."""
WAIT_PATIENCE_SECONDS: Final = 60.0
"""The same for a wait without a deadline of its own."""
BACKOFF: Final = Backoff(first_seconds=0.05, limit_seconds=2.0)

NO_ANSWER: Final = frozenset({Status.DEADLINE_EXCEEDED, Status.CANCELLED})
"""What ends a call that the hub may still carry out."""
NO_ANSWER_OR_AWAY: Final = NO_ANSWER | {Status.UNAVAILABLE}

SETTLED: Final = (InstanceAlreadyExistsError, InstanceNotFoundError, OutcomeUnknownError)
"""Errors that say all there is to say.  A hub's own subclasses of ``CallError`` are no such."""

_jitter = secrets.SystemRandom().random

Send = Callable[[float | None], Awaitable[T]]
"""Builds the request anew (its receiver owns it) and sends it, with a timeout in seconds."""


@attrs.frozen
class Subject:
    """What a call is about, for its errors."""

    operation: str
    hub: str
    instance_id: str = ""


async def repeatable(send: Send[T], subject: Subject) -> T:
    """Make a call that may safely be carried out twice.

    Raises:
        TaskHubUnavailableError: nobody answered in time.
        DurableFlowError: see ``raise_named``.
    """
    now = asyncio.get_running_loop().time
    give_up = now() + PATIENCE_SECONDS
    tries = 0
    while True:
        try:
            return await send(ANSWER_SECONDS)
        except CallError as error:
            tries += 1
            pause = BACKOFF.delay_seconds(tries, _jitter())
            if not _is_away(error) or now() + pause > give_up:
                raise_named(error, subject)
        await asyncio.sleep(pause)


async def once(send: Send[T], subject: Subject, *, undecided: frozenset[Status] = NO_ANSWER) -> T:
    """Make a call that must not be carried out twice; it is repeated only if it never was.

    Args:
        undecided: The statuses that leave open whether it was.

    Raises:
        OutcomeUnknownError: the connection broke (the hub says so), or no answer came in time.
        DurableFlowError: see ``raise_named``.
    """

    async def send_or_say(timeout: float | None) -> T:
        try:
            return await send(timeout)
        except CallError as error:
            if isinstance(error, SETTLED) or error.status not in undecided:
                raise
            raise OutcomeUnknownError(
                error.status,
                f"{subject.operation} on instance {subject.instance_id!r}: {subject.hub} did not "
                f"answer in time ({error}), so it may or may not have been carried out. Look at "
                "get_orchestration_history before you repeat it.",
            ) from error

    return await repeatable(send_or_say, subject)


async def wait(send: Send[T], subject: Subject, *, deadline: float | None) -> T | None:
    """Make a call that waits for an instance, again and again until the deadline.

    Engines end long waits as they like (DEADLINE_EXCEEDED, CANCELLED) and go away while clients
    wait; neither is the caller's business before its own deadline.

    Args:
        deadline: A time of the running loop's clock; None waits as long as the hub is there.

    Returns:
        The reply, or None when the deadline passed.

    Raises:
        TaskHubUnavailableError: there is no deadline and nobody answers.
        DurableFlowError: see ``raise_named``.
    """
    now = asyncio.get_running_loop().time
    contact = started = now()
    tries = 0
    while deadline is None or started < deadline:
        try:
            return await send(None if deadline is None else deadline - started)
        except CallError as error:
            if error.status not in NO_ANSWER_OR_AWAY:
                raise_named(error, subject)
            ended = now()
            # Nothing holds a call that long but a hub that took it.
            if not _is_away(error) or ended - started > WAIT_PATIENCE_SECONDS:
                contact, tries = ended, 0
            tries += 1
            if deadline is None and ended - contact > WAIT_PATIENCE_SECONDS:
                raise_named(error, subject)
        pause = BACKOFF.delay_seconds(tries, _jitter())
        await asyncio.sleep(pause if deadline is None else min(pause, max(0, deadline - ended)))
        started = now()
    return None


def raise_named(error: CallError, subject: Subject) -> NoReturn:
    """Raise what a status means to a client, with what to do about it.

    Raises:
        InstanceNotFoundError: NOT_FOUND.
        StorageFullError: RESOURCE_EXHAUSTED.
        TaskHubUnavailableError: UNAVAILABLE, or no answer in time.
        UnsupportedByEngineError: UNIMPLEMENTED.
        CallError: any other status, as it came.
    """
    if isinstance(error, SETTLED):
        raise error
    match error.status:
        case Status.NOT_FOUND:
            raise instance_not_found(subject, f" It says: {error}") from error
        case Status.RESOURCE_EXHAUSTED if "larger than max" not in str(error):
            raise StorageFullError(
                f"{subject.hub} has no space left ({error}). Free some and call again; what was "
                "acknowledged is safe."
            ) from error
        case Status.UNAVAILABLE | Status.DEADLINE_EXCEEDED:
            raise TaskHubUnavailableError(
                f"{subject.operation}: {subject.hub} does not answer ({error}). Start the engine "
                "or the app that owns this task hub, or check the address."
            ) from error
        case Status.UNIMPLEMENTED if isinstance(error, FeatureMissingError):
            raise UnsupportedByEngineError(error.feature, error.engine, error.hint) from error
        case Status.UNIMPLEMENTED:
            raise UnsupportedByEngineError(
                subject.operation, subject.hub, "Use another engine, or do without it."
            ) from error
    error.add_note(f"{subject.operation} of instance {subject.instance_id!r} on {subject.hub}")
    raise error


def _is_away(error: CallError) -> bool:
    return error.status is Status.UNAVAILABLE and not isinstance(error, SETTLED)


def instance_not_found(subject: Subject, said: str = "") -> InstanceNotFoundError:
    """Make the error for an id that the hub does not hold."""
    return InstanceNotFoundError(
        Status.NOT_FOUND,
        f"{subject.operation}: {subject.hub} holds no instance {subject.instance_id!r}. Check the "
        f"id and the task hub's address; a purged instance is gone.{said}",
    )
