"""Which blobs certainly exist, so that they need not be stored again: ``KnownBlobs``."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from datetime import timedelta
from typing import Any, Final

import attrs

from durableflow_blob.references import SHARED

SPARED: Final = timedelta(days=7)
"""``gc`` leaves alone what is younger."""

_MOST: Final = 20_000
# A shared blob that is older is stored again before anything new refers to it.
_SHARED_SECONDS: Final = SPARED.total_seconds() / 2
# Somebody else may purge an instance, and with it its blobs, and start another one of its name.
# Where executions cannot be told apart, this bounds for how long that would not be noticed.
_PRIVATE_SECONDS: Final = 60.0


@attrs.frozen(eq=False)
class Execution:
    """Of an instance; the same id twice with another one between makes two."""

    execution_id: str


class KnownBlobs:
    """Remembers when blobs were stored last.  Any thread may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Of private blobs, also the execution that was at work then.
        self._stored: OrderedDict[str, tuple[float, Execution | None]] = OrderedDict()
        self._executions: OrderedDict[str, Execution] = OrderedDict()

    def note(self, name: str, by: Execution | None = None, stored_at: float | None = None) -> None:
        """Take note of a blob.

        Args:
            by: Who was at work when it began to be stored; what has begun since cannot count on it.
            stored_at: In seconds since 1970; now unless given.
        """
        with self._lock:
            time_stored = time.time() if stored_at is None else stored_at
            self._stored[name] = (time_stored, by)
            self._stored.move_to_end(name)
            _bound(self._stored)

    def certainly(self, name: str) -> bool:
        """Whether a blob exists and will for long enough."""
        seconds = _SHARED_SECONDS if name.startswith(SHARED) else _PRIVATE_SECONDS
        with self._lock:
            stored, execution = self._stored.get(name, (0.0, None))
            if execution is not self._execution_of(name):
                return False
        return time.time() - stored < seconds

    def at_work(self, name: str) -> Execution | None:
        """Return who works with the folder of a blob; None if that is not known, or everybody."""
        with self._lock:
            return self._execution_of(name)

    def begin(self, folder: str, execution_id: str) -> None:
        """Take note of who works with a folder: what others stored there may be gone since."""
        with self._lock:
            known = self._executions.get(folder)
            if known is None or known.execution_id != execution_id:
                self._executions[folder] = Execution(execution_id)
            self._executions.move_to_end(folder)
            _bound(self._executions)

    def forget(self, folder: str) -> None:
        """Forget everything in a folder."""
        with self._lock:
            for name in [name for name in self._stored if name.startswith(folder)]:
                del self._stored[name]

    def _execution_of(self, name: str) -> Execution | None:
        folder, _, _ = name.rpartition("/")
        return self._executions.get(folder + "/")


def _bound(kept: OrderedDict[str, Any]) -> None:
    if len(kept) > _MOST:
        kept.popitem(last=False)
