"""RetryPolicy: how long to wait before the next attempt, or that there is none; pure."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Collection
from datetime import timedelta
from hashlib import blake2b
from typing import Any, Final, TypeAlias

import attrs

from durableflow.errors import UsageError
from durableflow.protocol.failures import FailureDetails

ErrorType: TypeAlias = type[Exception] | str
Predicate: TypeAlias = Callable[[FailureDetails], bool]

LONGEST_DELAY: Final = timedelta(days=3650)
"""No delay is longer: backoff that has grown past ten years would overflow dates."""

_WHAT_TO_GIVE: Final = (
    "give an exception class or its name, several of them, or a plain function that takes "
    "FailureDetails and returns whether to try again"
)


def _duration(value: Any) -> Any:
    """Read seconds as a ``timedelta``; leave everything else to the validator."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return timedelta(seconds=value)
        except (OverflowError, ValueError):
            return value
    return value


def _optional_duration(value: Any) -> Any:
    return None if value is None else _duration(value)


def _check_duration(_policy: RetryPolicy, attribute: attrs.Attribute[Any], value: Any) -> None:
    if not isinstance(value, timedelta) or value < timedelta(0):
        raise UsageError(
            f"RetryPolicy({attribute.name}={value!r}): give a timedelta, or seconds, "
            "of zero or more."
        )


def _check_attempts(_policy: RetryPolicy, attribute: attrs.Attribute[Any], value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UsageError(
            f"RetryPolicy({attribute.name}={value!r}): give a whole number of at least 1; "
            "the first attempt counts."
        )


def _check_coefficient(_policy: RetryPolicy, attribute: attrs.Attribute[Any], value: Any) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or value < 1:
        raise UsageError(
            f"RetryPolicy({attribute.name}={value!r}): give a number of at least 1; "
            "1 waits equally long each time, 2 twice as long."
        )


def _check_jitter(_policy: RetryPolicy, attribute: attrs.Attribute[Any], value: Any) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= 1:
        raise UsageError(
            f"RetryPolicy({attribute.name}={value!r}): give a number from 0 to 1, the largest part "
            "by which a wait may be shortened."
        )


def _retry_on(
    value: ErrorType | Collection[ErrorType] | Predicate | None,
) -> tuple[ErrorType, ...] | Predicate | None:
    """Make one type, or a list of types, a tuple; leave everything else to the validator."""
    if isinstance(value, str | type):
        return (value,)
    return tuple(value) if isinstance(value, Collection) else value


def _check_retry_on(_policy: RetryPolicy, attribute: attrs.Attribute[Any], value: Any) -> None:
    if isinstance(value, tuple) and value:
        refused = [each for each in value if not _is_error_type(each)]
    else:
        refused = [] if value is None or _is_predicate(value) else [value]
    if refused:
        why = _why_refused(refused[0])
        raise UsageError(f"RetryPolicy({attribute.name}={_shown(value)}): {why}.")


def _shown(value: Any) -> str:
    """Show what was given: a single type without the tuple that was made of it."""
    return repr(value[0] if isinstance(value, tuple) and len(value) == 1 else value)


def _is_error_type(value: Any) -> bool:
    if isinstance(value, str):
        return bool(value.strip())
    return isinstance(value, type) and issubclass(value, Exception)


def _is_predicate(value: Any) -> bool:
    """Whether calling it can give an answer, rather than something that would have to be run."""
    kinds = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
    called = (value, getattr(value, "__call__", None))  # noqa: B004 -- objects, too, may be async
    return callable(value) and not any(is_kind(each) for is_kind in kinds for each in called)


def _why_refused(value: Any) -> str:
    if isinstance(value, BaseException):
        return f"{value!r} is one exception, not a class of them. Give {type(value).__name__}"
    if isinstance(value, type) and issubclass(value, BaseException):
        return (
            f"{value.__name__} is no subclass of Exception: it stands for the end of a program, a "
            "thread or a coroutine, which is not tried again. Give Exception or subclasses of it; "
            "without retry_on every failure is tried again"
        )
    return _WHAT_TO_GIVE


@attrs.frozen(kw_only=True)
class RetryPolicy:
    """When a failed activity or sub-orchestration is tried again.

    A failure that is marked as non-retriable never is.

    Attributes:
        first_retry_interval: The wait before the second attempt; a ``timedelta`` or seconds.
        max_number_of_attempts: All attempts together, the first included.
        backoff_coefficient: Each further wait is this many times the one before.
        max_retry_interval: No wait is longer; None sets no limit.
        retry_timeout: No attempt begins a wait once this much time has passed since the first
            attempt; None sets no limit.
        jitter: Each wait is shortened by a part of it, from none up to this one; 1 means any wait
            from zero on.  The parts look random, and are the same in every replay.
        retry_on: What is tried again: failures of these types (their causes do not count; see
            ``FailureDetails.is_a``), or those for which a function returns true.  It is asked
            once, when the failure arrives, and must depend on nothing else.  Types are subclasses of
            ``Exception``, or names of any.  None: every failure.

    Raises:
        UsageError: a value is out of range or of another type.
    """

    first_retry_interval: timedelta = attrs.field(converter=_duration, validator=_check_duration)
    max_number_of_attempts: int = attrs.field(validator=_check_attempts)
    backoff_coefficient: float = attrs.field(default=1.0, validator=_check_coefficient)
    max_retry_interval: timedelta | None = attrs.field(
        default=None,
        converter=_optional_duration,
        validator=attrs.validators.optional(_check_duration),
    )
    retry_timeout: timedelta | None = attrs.field(
        default=None,
        converter=_optional_duration,
        validator=attrs.validators.optional(_check_duration),
    )
    jitter: float = attrs.field(default=0.0, validator=_check_jitter)
    retry_on: tuple[ErrorType, ...] | Predicate | None = attrs.field(
        default=None, converter=_retry_on, validator=_check_retry_on
    )

    def allows(self, failure: FailureDetails) -> bool:
        """Whether a failure is of the kind that is tried again.

        What a function of the user's raises is passed on.
        """
        if failure.is_non_retriable:
            return False
        wanted = self.retry_on
        if wanted is None:
            return True
        if isinstance(wanted, tuple):
            return any(map(failure.is_a, wanted))
        return bool(wanted(failure))

    def next_delay(self, *, attempt: int, elapsed: timedelta, seed: str = "") -> timedelta | None:
        """Say how long to wait after a failure.

        Args:
            attempt: The attempts made so far, at least 1.
            elapsed: From the first attempt to the latest failure, in the time of the history,
                so that every replay decides the same.
            seed: Which call this is: what jitter is derived from.

        Returns:
            The wait, or None to give up.
        """
        if attempt >= self.max_number_of_attempts:
            return None
        if self.retry_timeout is not None and elapsed >= self.retry_timeout:
            return None
        longest = LONGEST_DELAY if self.max_retry_interval is None else self.max_retry_interval
        try:
            delay = self.first_retry_interval * self.backoff_coefficient ** (attempt - 1)
        except OverflowError:
            # Zero times anything is no wait at all, however large the factor has become.
            delay = longest if self.first_retry_interval else timedelta(0)
        delay = min(delay, longest)
        return delay * (1 - self.jitter * _fraction(f"{seed}\n{attempt}")) if self.jitter else delay


def _fraction(seed: str) -> float:
    """Return a number from 0 up to 1, always the same for the same seed."""
    digest = blake2b(seed.encode(errors="backslashreplace"), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
