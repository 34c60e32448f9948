"""Says whether the running code is an orchestrator's turn, where blocking calls are refused."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class _Turns(threading.local):
    active: bool = False


_turns = _Turns()


def in_turn() -> bool:
    """Whether the current thread is running orchestrator code right now."""
    return _turns.active


@contextmanager
def running_turns() -> Iterator[None]:
    """Mark the current thread as running orchestrator code for the length of a ``with`` block."""
    before = _turns.active
    _turns.active = True
    try:
        yield
    finally:
        _turns.active = before
