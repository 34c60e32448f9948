"""Where a thread is right now, as a log shows it: ``stack_of``."""

from __future__ import annotations

import sys
import threading
import traceback


def stack_of(thread: threading.Thread) -> str:
    """Return the lines of a thread's stack, or that it has ended."""
    frame = sys._current_frames().get(thread.ident or 0)  # noqa: SLF001  # documented, for this
    return "".join(traceback.format_stack(frame)) if frame is not None else "(ended)"
