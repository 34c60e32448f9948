"""Where the processor time of this process goes: to which thread, and to the garbage collector."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_CLOCK: Final = time.thread_time


@contextmanager
def watching() -> Iterator[list[str]]:
    """Yield a list that gets a line for each thread of some cost that lives at the end.

    The busiest comes first; those below one percent share a line.
    """
    lines: list[str] = []
    collecting = 0.0

    def watch(phase: str, info: dict[str, int]) -> None:
        nonlocal collecting
        collecting += _CLOCK() if phase == "stop" else -_CLOCK()

    before = _seconds()
    gc.callbacks.append(watch)
    try:
        yield lines
    finally:
        gc.callbacks.remove(watch)
    used = {thread: seconds - before.get(thread, 0.0) for thread, seconds in _seconds().items()}
    total = sum(used.values())
    shown = {thread.name: seconds for thread, seconds in used.items() if seconds >= total / 100}
    busiest_first = sorted(shown.items(), key=lambda each: -each[1])
    others = ("all other threads", total - sum(shown.values()))
    for name, seconds in (*busiest_first, others, ("of all: garbage collection", collecting)):
        lines.append(f"{seconds:8.3f} s  {seconds / total:4.0%}  {name}")


def _seconds() -> dict[threading.Thread, float]:
    return {
        thread: time.clock_gettime(time.pthread_getcpuclockid(thread.ident))
        for thread in threading.enumerate()
        if thread.ident is not None
    }
