"""Times on the wire, in the engine and in user code."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from durableflow.protocol.times import (
    datetime_of,
    from_timestamp,
    micros_of,
    micros_of_datetime,
    micros_of_timedelta,
    set_micros,
    to_timestamp,
)

moments = st.datetimes(timezones=st.just(UTC))


@given(moments)
def test_a_time_comes_back_from_the_wire_as_it_was(moment: datetime):
    assert from_timestamp(to_timestamp(moment)) == moment


@given(moments)
def test_a_time_comes_back_from_microseconds_as_it_was(moment: datetime):
    timestamp = Timestamp()

    set_micros(timestamp, micros_of_datetime(moment))

    assert micros_of(timestamp) == micros_of_datetime(moment)
    assert datetime_of(micros_of(timestamp)) == moment


def test_times_of_other_zones_are_told_in_utc():
    noon = datetime(2030, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))

    back = from_timestamp(to_timestamp(noon))

    assert back == noon
    assert back.tzinfo is UTC


def test_nanoseconds_are_cut_off():
    assert micros_of(Timestamp(seconds=1, nanos=2_999)) == 1_000_002


def test_a_time_without_a_zone_is_refused():
    with pytest.raises(ValueError, match="no time zone"):
        to_timestamp(datetime(2030, 1, 1))  # noqa: DTZ001 -- the mistake


def test_durations_are_whole_microseconds():
    assert micros_of_timedelta(timedelta(seconds=-1.5)) == -1_500_000
