"""Whether a failed call is tried again: history decides as far as it goes, then the policy.

The policy may have changed since a failure was recorded.  Its retry timer, and the call that was
scheduled again, are then followed as they stand.  Mostly the history shows what happened: the
number of the retry timer stands in it, and the call is scheduled a second time.  Where it does
not, because the timer has not fired yet, say, or is one that the code made itself, today's policy
is the best guess; if the code diverges later, the newest guess is turned round and the history is
replayed once more.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from durableflow.protocol.failures import FailureDetails
from durableflow.replay.journal import Journal
from durableflow.replay.record import Record
from durableflow.replay.requests import Call

_MOST_REVISIONS: Final = 100
_NO_DELAY: Final = timedelta(0)


class Retries:
    """Decides about the failures of one execution.

    Args:
        record: The events that it goes through when it is replayed.
    """

    def __init__(self, record: Record) -> None:
        self._record = record
        self._guesses: dict[tuple[int, int], bool] = {}
        # (A dict: an empty set takes three times the memory, and each session has one of these.)
        self._revised: dict[tuple[int, int], None] = {}

    def delay(self, journal: Journal, call: Call, failure: FailureDetails) -> timedelta | None:
        """Return how long to wait before the next attempt; None: there is none.

        What ``retry_on`` of a policy raises is passed on.
        """
        position = journal.position
        if not self._record.shows_turn_after(position):
            return _by_policy(journal, call, failure)
        retried = self._record.shows_retry(position, call.id, journal.next_id)
        if retried is None:
            guess = (position, call.id)
            if guess not in self._guesses:
                self._guesses[guess] = _by_policy(journal, call, failure) is not None
            retried = self._guesses[guess]
        # The history has the timer, and the time at which it fires.
        return _NO_DELAY if retried else None

    def revise(self) -> bool:
        """Turn the newest guess round that has not been; whether there was one."""
        open_guesses = self._guesses.keys() - self._revised.keys()
        if not open_guesses or len(self._revised) >= _MOST_REVISIONS:
            return False
        newest = max(open_guesses)
        self._guesses[newest] = not self._guesses[newest]
        self._revised[newest] = None
        return True


def _by_policy(journal: Journal, call: Call, failure: FailureDetails) -> timedelta | None:
    if call.policy is None:
        return None
    delay = call.policy.next_delay(
        attempt=call.attempts,
        elapsed=timedelta(microseconds=journal.now - call.first_at),
        seed=f"{journal.instance_id}\n{journal.execution_id}\n{call.id}",
    )
    return delay if delay is not None and call.policy.allows(failure) else None
