"""RetryPolicy: how long to wait before the next attempt, or that there is none; pure."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any, Final

import attrs

from durableflow.errors import UsageError

LONGEST_DELAY: Final = timedelta(days=3650)
"""No delay is longer: backoff that has grown past ten years would overflow dates."""


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


@attrs.frozen(kw_only=True)
class RetryPolicy:
    """When a failed activity or sub-orchestration is tried again.

    Attributes:
        first_retry_interval: The wait before the second attempt; a ``timedelta`` or seconds.
        max_number_of_attempts: All attempts together, the first included.
        backoff_coefficient: Each further wait is this many times the one before.
        max_retry_interval: No wait is longer; None sets no limit.
        retry_timeout: No attempt begins a wait once this much time has passed since the first
            attempt; None sets no limit.

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

    def next_delay(self, *, attempt: int, elapsed: timedelta) -> timedelta | None:
        """Say how long to wait after a failure.

        Args:
            attempt: The attempts made so far, at least 1.
            elapsed: From the first attempt to the latest failure, in the time of the history,
                so that every replay decides the same.

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
        return min(delay, longest)
