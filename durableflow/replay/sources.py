"""Where user code made a call, and where it waits: read from frames, only when somebody asks.

Line numbers are costly to work out and rarely needed, so a call site is remembered as the code
object and the instruction.
"""

from __future__ import annotations

import re
import sys
from itertools import islice
from linecache import getline
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final, TypeAlias

Origin: TypeAlias = tuple[CodeType, int]

_OWN_FOLDER: Final = str(Path(__file__).resolve().parent)
_INSTRUCTION_BYTES: Final = 2
_CALLED: Final = re.compile(r"\b(?:yield(?:\s+from)?|await)\s+([A-Za-z_][\w.]*)\s*\(")


def call_site() -> Origin:
    """Remember where the function that calls this one was called."""
    frame = sys._getframe(2)  # noqa: SLF001 -- the only way that costs next to nothing
    return frame.f_code, frame.f_lasti


def place_of(origin: Origin) -> str:
    """Return where a call was made, as ``file:line``."""
    code, instruction = origin
    positions = islice(code.co_positions(), instruction // _INSTRUCTION_BYTES, None)
    line = next(positions, (None,))[0]
    return f"{code.co_filename}:{code.co_firstlineno if line is None else line}"


def waiting_place(running: Any) -> str:
    """Return where a suspended generator or coroutine waits, as ``file:line``."""
    frame = _waiting_frame(running)
    return "an unknown line" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"


def called_function(running: Any) -> str | None:
    """Return the function whose result a generator or coroutine hands out, if its line shows it.

    Calls of the context, which is the first parameter, do not count.
    """
    frame = _waiting_frame(running)
    return None if frame is None else _called(frame.f_code, frame.f_lineno)


def called_where_raised(error: BaseException) -> str | None:
    """Return the function whose result was awaited where an exception was raised."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return None if trace is None else _called(trace.tb_frame.f_code, trace.tb_lineno)


def _called(code: CodeType, line: int) -> str | None:
    called = _CALLED.search(getline(code.co_filename, line))
    if called is None or called[1].partition(".")[0] in code.co_varnames[:1]:
        return None
    return called[1]


def _waiting_frame(running: Any) -> FrameType | None:
    """Return the innermost frame of user code of what may wait for another, and so on."""
    found = None
    while running is not None:
        frame = getattr(running, "gi_frame", None) or getattr(running, "cr_frame", None)
        if frame is None or frame.f_code.co_filename.startswith(_OWN_FOLDER):
            break
        found = frame
        running = getattr(running, "gi_yieldfrom", None) or getattr(running, "cr_await", None)
    return found
