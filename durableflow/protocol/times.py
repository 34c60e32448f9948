"""Times on the wire, in the engine (whole microseconds) and in user code (aware ``datetime``)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
LATEST_MICROS: Final = 253_402_300_799_999_999
"""The end of the year 9999, after which neither timestamps nor ``datetime`` go."""

_MICROSECOND: Final = timedelta(microseconds=1)
_MICROS_PER_SECOND: Final = 1_000_000
_NANOS_PER_MICRO: Final = 1_000


def micros_of(timestamp: Timestamp) -> int:
    """Return the microseconds since 1970-01-01 UTC; finer parts are cut off."""
    return timestamp.seconds * _MICROS_PER_SECOND + timestamp.nanos // _NANOS_PER_MICRO


def bounded_micros_of(timestamp: Timestamp) -> int:
    """Return the same for a timestamp that others wrote, moved into the years 1970 to 9999."""
    return min(max(micros_of(timestamp), 0), LATEST_MICROS)


def set_micros(timestamp: Timestamp, micros: int) -> None:
    """Set a timestamp, usually a field of a message, to microseconds since 1970-01-01 UTC."""
    seconds, rest = divmod(micros, _MICROS_PER_SECOND)
    timestamp.seconds = seconds
    timestamp.nanos = rest * _NANOS_PER_MICRO


def micros_of_datetime(time: datetime) -> int:
    """Return the microseconds since 1970-01-01 UTC.

    Raises:
        ValueError: the time has no time zone, so nobody knows which moment it is.
    """
    if time.tzinfo is None:
        raise ValueError(
            f"{time!r} has no time zone. Say which one is meant, for example "
            "datetime(2030, 1, 1, tzinfo=timezone.utc)."
        )
    return (time - _EPOCH) // _MICROSECOND


def micros_of_timedelta(duration: timedelta) -> int:
    """Return a duration in whole microseconds."""
    return duration // _MICROSECOND


def datetime_of(micros: int) -> datetime:
    """Return a moment, given in microseconds since 1970-01-01 UTC, as an aware ``datetime``."""
    return _EPOCH + timedelta(microseconds=micros)


def to_timestamp(time: datetime) -> Timestamp:
    """Make a timestamp of an aware ``datetime``.

    Raises:
        ValueError: the time has no time zone.
    """
    timestamp = Timestamp()
    set_micros(timestamp, micros_of_datetime(time))
    return timestamp


def from_timestamp(timestamp: Timestamp) -> datetime:
    """Make an aware ``datetime``, in UTC, of a timestamp."""
    return datetime_of(micros_of(timestamp))
