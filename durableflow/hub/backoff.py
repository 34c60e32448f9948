"""How long to wait between attempts: exponential growth with full jitter.  Pure."""

from __future__ import annotations

from attrs import frozen

_MOST_DOUBLINGS = 32


@frozen(kw_only=True)
class Backoff:
    """A schedule of waits whose upper limit doubles with each attempt.

    Full jitter (anything between zero and the limit) keeps those that lost the same engine from
    coming back all at once.
    """

    first_seconds: float
    limit_seconds: float

    def delay_seconds(self, attempt: int, jitter: float = 1.0) -> float:
        """Say how long to wait after a failure.

        Args:
            attempt: How many attempts in a row have failed, at least 1.
            jitter: A random number, 0 ≤ jitter < 1; without one the wait is the limit.
        """
        doublings = min(attempt - 1, _MOST_DOUBLINGS)
        return jitter * min(self.limit_seconds, self.first_seconds * 2.0**doublings)
