"""What signals do to a worker process that waits for them."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType
from typing import Any

import pytest

from durableflow.signals import StopSignals


class SignalAt:
    """Sends this process a signal when its main thread comes to a step of what it traces."""

    def __init__(self, step: int) -> None:
        self.step = step
        self.sent = False

    def __call__(self, frame: FrameType, event: str, argument: Any) -> SignalAt:
        self.step -= 1
        if self.step == 0:
            self.sent = True
            os.kill(os.getpid(), signal.SIGTERM)
        return self


@pytest.mark.timeout(20)
def test_a_signal_ends_the_wait_at_whatever_moment_it_comes() -> None:
    before = sys.gettrace()
    step, came_within = 0, True
    while came_within:
        step += 1
        at = SignalAt(step)
        with StopSignals() as signals:
            last = threading.Timer(1, signals.stop)  # for the step that there is not
            last.start()
            sys.settrace(at)
            try:
                signals.wait()
            finally:
                sys.settrace(before)
            last.cancel()
            last.join()
            came_within = at.sent and signals.received is not None

    assert step > 1


def test_the_wait_ends_without_a_signal_too() -> None:
    with StopSignals() as signals:
        threading.Thread(target=signals.stop).start()
        signals.wait()

    assert signals.received is None
