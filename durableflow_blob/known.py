"""Which blobs certainly exist, so that they need not be stored again: ``KnownBlobs``."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from datetime import timedelta
from typing import Final

from durableflow_blob.references import SHARED

SPARED: Final = timedelta(days=7)
"""``gc`` leaves alone what is younger."""

_MOST: Final = 20_000
# A shared blob that is older is stored again before anything new refers to it.
_SHARED_SECONDS: Final = SPARED.total_seconds() / 2
# Somebody else may purge an instance, and with it its blobs, and start another one of its name.
_PRIVATE_SECONDS: Final = 60.0


class KnownBlobs:
    """Remembers when blobs were stored last.  Any thread may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stored: OrderedDict[str, float] = OrderedDict()

    def note(self, name: str, stored_at: float | None = None) -> None:
        """Take note of a blob.

        Args:
            stored_at: In seconds since 1970; now unless given.
        """
        with self._lock:
            self._stored[name] = time.time() if stored_at is None else stored_at
            self._stored.move_to_end(name)
            if len(self._stored) > _MOST:
                self._stored.popitem(last=False)

    def certainly(self, name: str) -> bool:
        """Whether a blob exists and will for long enough."""
        seconds = _SHARED_SECONDS if name.startswith(SHARED) else _PRIVATE_SECONDS
        with self._lock:
            stored = self._stored.get(name)
        return stored is not None and time.time() - stored < seconds

    def forget(self, folder: str) -> None:
        """Forget everything in a folder."""
        with self._lock:
            for name in [name for name in self._stored if name.startswith(folder)]:
                del self._stored[name]
