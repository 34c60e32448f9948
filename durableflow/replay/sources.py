"""Where user code made a call, and where it waits: read from frames, only when somebody asks.

Line numbers are costly to work out and rarely needed, so a call site is remembered as the code
object and the instruction.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from itertools import islice
from linecache import getline
from pathlib import Path
from traceback import walk_tb
from types import CodeType, FrameType
from typing import Any, Final, TypeAlias

Origin: TypeAlias = tuple[CodeType, int]

_OWN_FOLDER: Final = str(Path(__file__).resolve().parent)
_LIBRARIES: Final = frozenset({"asyncio", "anyio", "trio", "sniffio"})
_INSTRUCTION_BYTES: Final = 2
_CALLED: Final = re.compile(r"\b(?:yield(?:\s+from)?|await)\s+([A-Za-z_][\w.]*)\s*\(")

_CALL: Final = re.compile(r"[A-Za-z_][\w.]*(?=\s*\()")


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


def call_at(origin: Origin) -> str | None:
    """Return a call as it is written, without what it is given: ``ctx.create_timer(…)``.

    None if the source is not there, or does not show it.
    """
    code, instruction = origin
    nowhere = (None, None, None, None)
    positions = islice(code.co_positions(), instruction // _INSTRUCTION_BYTES, None)
    line, _, start, _ = next(positions, nowhere)
    if line is None:
        return None
    # Columns count the bytes of UTF-8.
    text = getline(code.co_filename, line).encode()[start or 0 :].decode(errors="replace")
    called = _CALL.match(text)
    return None if called is None else f"{called[0]}(…)"


def waiting_place(running: Any) -> str:
    """Return where a suspended generator or coroutine waits, as ``file:line``."""
    return innermost_place(waiting_frames(running))


def innermost_place(frames: Iterable[FrameType]) -> str:
    """Return the line of the innermost frame of user code, as ``file:line``."""
    frame = _users(frames)
    return "an unknown line" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"


def library_of(frame: FrameType) -> str | None:
    """Return the library for event loops that a frame belongs to, None if to none."""
    module = str(frame.f_globals.get("__name__")).partition(".")[0]
    return module if module in _LIBRARIES else None


def waiting_frames(running: Any) -> list[FrameType]:
    """Return the frames of what may wait for another, which may wait for another, and so on."""
    frames = []
    while running is not None:
        frame = getattr(running, "gi_frame", None) or getattr(running, "cr_frame", None)
        if frame is None:
            break
        frames.append(frame)
        running = getattr(running, "gi_yieldfrom", None) or getattr(running, "cr_await", None)
    return frames


def frames_of(error: BaseException) -> list[FrameType]:
    """Return the frames of user code and below that an exception went through, outermost first."""
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    return [frame for frame in frames if not frame.f_code.co_filename.startswith(_OWN_FOLDER)]


def called_function(running: Any) -> str | None:
    """Return the function whose result a generator or coroutine hands out, if its line shows it.

    Calls of the context, which is the first parameter, do not count.
    """
    frame = _users(waiting_frames(running))
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


def _users(frames: Iterable[FrameType]) -> FrameType | None:
    """Return the innermost frame of user code, which is above those of libraries."""
    found = None
    for frame in frames:
        if frame.f_code.co_filename.startswith(_OWN_FOLDER) or library_of(frame) is not None:
            break
        found = frame
    return found
