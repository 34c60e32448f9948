"""What SIGINT and SIGTERM mean to a worker process: drain first, stop at once the second time."""

from __future__ import annotations

import os
import signal
from queue import SimpleQueue
from types import FrameType, TracebackType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopSignals:
    """While entered, the first signal ends ``wait`` and the second ends the process.

    Only the main thread can enter it.  Ending at once loses nothing: what was accepted is on disk,
    and activities that were running are run again by the next worker.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        # Unlike an event it may be used by a handler that interrupts its very use.
        self._stops: SimpleQueue[None] = SimpleQueue()
        self._before: dict[signal.Signals, signal._HANDLER] = {}

    def __enter__(self) -> StopSignals:
        for number in _SIGNALS:
            self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def wait(self) -> None:
        """Block until the first signal, or until ``stop`` is called."""
        self._stops.get()

    def stop(self) -> None:
        """End ``wait`` without a signal.  Any thread may call it."""
        self._stops.put(None)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.received is None:
            self.received = signal.Signals(number)
            self._stops.put(None)
            return
        # A handler must not take locks, so no logging and no print.
        os.write(2, b"\nStopped at once; running activities will be run again.\n")
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
