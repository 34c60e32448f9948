from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from durableflow.hub.backoff import Backoff

BACKOFF = Backoff(first_seconds=0.5, limit_seconds=10)


def test_the_upper_limit_doubles_with_each_attempt_up_to_the_limit() -> None:
    limits = [BACKOFF.delay_seconds(attempt, 1.0) for attempt in range(1, 8)]

    assert limits == [0.5, 1, 2, 4, 8, 10, 10]


def test_jitter_spreads_the_whole_range() -> None:
    assert BACKOFF.delay_seconds(3, 0.0) == 0
    assert BACKOFF.delay_seconds(3, 0.25) == 0.5


@given(st.integers(1, 10**9), st.floats(0, 1, exclude_max=True))
def test_a_delay_never_exceeds_the_limit(attempt: int, jitter: float) -> None:
    assert 0 <= BACKOFF.delay_seconds(attempt, jitter) <= 10
