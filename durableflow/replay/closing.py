"""Ending code that is abandoned in the middle: ``close``."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, Final

from durableflow.protocol.failures import from_exception

_MOST_CLOSES: Final = 10
_IGNORED: Final = "ignored GeneratorExit"  # the end of what Python says of code that will not end

_kept: ContextVar[list[str] | None] = ContextVar("durableflow_kept", default=None)


class _Hook:
    """Keeps what is to be kept in the present context, and passes on everything else."""

    def __init__(self, before: Callable[[Any], object]) -> None:
        self.before = before
        self.has_ended = False

    def __call__(self, unraisable: Any) -> None:
        said = str(unraisable.exc_value) if unraisable.exc_type is RuntimeError else ""
        keeps = _kept.get()
        if keeps is not None and said.endswith(_IGNORED):
            keeps.append(said)
        else:
            self.before(unraisable)


@contextlib.contextmanager
def python_silenced() -> Iterator[list[str]]:
    """Keep what Python says to stderr of code that will not end, in this thread and context.

    It says so when it frees a generator or coroutine, wherever the last reference is dropped.
    """
    kept: list[str] = []
    hook = _Hook(sys.unraisablehook)
    token = _kept.set(kept)
    sys.unraisablehook = hook
    try:
        yield kept
    finally:
        _kept.reset(token)
        hook.has_ended = True
        # Another thread may have put its own on top, and takes ours away, too, when it ends.
        while isinstance(top := sys.unraisablehook, _Hook) and top.has_ended:
            sys.unraisablehook = top.before


def close(running: Any) -> str | None:
    """Run the ``finally`` and ``with`` blocks of a suspended generator or coroutine.

    It may not wait there; code that does is resumed and abandoned again, a few times, and then
    dropped.

    Returns:
        What the code waited for or raised meanwhile, None if it just ended.

    Raises:
        KeyboardInterrupt: passed on.
    """
    problem: str | None = None
    for _ in range(_MOST_CLOSES):
        try:
            running.close()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 -- whatever user code raises, SystemExit too
            problem = from_exception(error).message
        else:
            return problem
    frame = getattr(running, "gi_frame", None) or getattr(running, "cr_frame", None)
    if frame is not None:
        # What it keeps, maybe an exception that leads back to it, would keep it alive.
        with contextlib.suppress(RuntimeError):  # from Python 3.13 on only an ended frame lets go
            frame.clear()
    return problem


def warning(problem: str | None, ignored: list[str]) -> str | None:
    """Say what went wrong, and what to do about it; None if nothing did.

    Args:
        problem: What ``close`` returned.
        ignored: What ``python_silenced`` kept.
    """
    if ignored:
        return (
            "the code caught GeneratorExit and waited again, however often its session was closed, "
            "so it was dropped where it stood. Only that session is gone; the instance goes on. "
            "Catch `Exception` rather than `BaseException` or everything, or let GeneratorExit "
            "through."
        )
    if problem is None:
        return None
    return (
        f"the code waited or raised while its session was closed ({problem}). Only that session is "
        "gone; the instance goes on. Keep `yield` and `await` out of `finally` and `except "
        "GeneratorExit`."
    )
