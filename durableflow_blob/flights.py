"""Does once what several threads ask for at the same time: ``Flights``."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

T = TypeVar("T")


class Flights(Generic[T]):
    """Work under way, by key.  Whoever asks for the same gets the same result, or error."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: dict[Hashable, Future[T]] = {}

    def do(self, key: Hashable, work: Callable[[], T]) -> T:
        """Return what the work for a key comes to."""
        with self._lock:
            future = self._under_way.get(key)
            mine = future is None
            if future is None:
                future = self._under_way[key] = Future()
        if mine:
            try:
                future.set_result(work())
            except Exception as error:  # noqa: BLE001  # goes to everybody who waits, this thread too
                future.set_exception(error)
            finally:
                with self._lock:
                    del self._under_way[key]
        return future.result()
