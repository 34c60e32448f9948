"""What an orchestrator must not call, because replays would differ or repeat it: ``Guard``.

A guard is a profile function (``sys.setprofile``) on the orchestrator thread, during a turn only.
It sees each call of a function written in C, and at the bottom of every clock, random number,
socket, process and file there is one.  Nothing is patched.  A turn under guard is several times
slower, so guards are for development and tests.

Calls that logging, the import system and durableflow itself make do not count.  Nor do those of
code that Python runs in between because memory is freed, whosever that is.
"""

from __future__ import annotations

import _socket
import _thread
import contextlib
import importlib
import inspect
import logging
import os
import random
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from types import FrameType
from typing import Any, Final, TypeVar
from weakref import ReferenceType

from durableflow.errors import OrchestratorError
from durableflow.settings import DeterminismGuards

logger = logging.getLogger(__name__)

T = TypeVar("T")

_CLOCK: Final = "the clock; use `ctx.current_utc_datetime`"
_WAITING: Final = "waiting that is not durable; use `ctx.create_timer(…)`"
_CHANCE: Final = "randomness; use `ctx.new_uuid()`, or draw in an activity"
_OUTSIDE: Final = "the world outside; use an activity"

_FORBIDDEN_BY_MODULE: Final[Mapping[Any, Mapping[str, str]]] = {
    time: {
        **dict.fromkeys(
            (
                "time",
                "time_ns",
                "monotonic",
                "monotonic_ns",
                "perf_counter",
                "perf_counter_ns",
                "process_time",
                "process_time_ns",
                "thread_time",
                "thread_time_ns",
                "clock_gettime",
                "clock_gettime_ns",
                "localtime",
                "ctime",
            ),
            _CLOCK,
        ),
        "sleep": _WAITING,
    },
    os: {
        **dict.fromkeys(("urandom", "getrandom"), _CHANCE),
        **dict.fromkeys(
            ("fork", "forkpty", "getpid", "listdir", "open", "posix_spawn", "scandir", "system"),
            _OUTSIDE,
        ),
    },
    _socket: dict.fromkeys(
        ("getaddrinfo", "gethostbyname", "gethostbyaddr", "gethostname", "socketpair"), _OUTSIDE
    ),
    _thread: dict.fromkeys(
        ("start_new_thread", "start_new", "start_joinable_thread"),
        "a thread, which the turn does not wait for; use an activity",
    ),
}
_SOCKET_METHODS: Final = frozenset({"accept", "bind", "connect", "connect_ex", "sendto"})
_NOW: Final = frozenset({"now", "today", "utcnow"})

# `random.random()` and its like are methods of one generator that the whole process shares.
_SHARED_GENERATOR: Final = random.random.__self__  # type: ignore[attr-defined]  # typed as a function

# (Functions of weakref run when something dies: ``finalize`` calls what it was given by one.)
_EXEMPT: Final = frozenset(
    {"logging", "importlib", "_frozen_importlib", "warnings", "linecache", "weakref"}
)
_COLLECTIONS: Final = ("start", "stop")
_OWN_PACKAGE: Final = __name__.partition(".")[0]


def _forbidden_functions() -> Iterator[tuple[Any, tuple[str, str]]]:
    for module, reasons in _FORBIDDEN_BY_MODULE.items():
        for name, reason in reasons.items():
            function = getattr(module, name, None)
            if function is not None:
                yield function, (f"{module.__name__.removeprefix('_')}.{name}", reason)
    yield open, ("open", _OUTSIDE)
    with contextlib.suppress(ImportError, AttributeError):  # not everywhere is it there
        of_time = importlib.import_module("_uuid").generate_time_safe
        yield of_time, ("uuid.uuid1", _CHANCE)


_FORBIDDEN: Final = dict(_forbidden_functions())


class Guard:
    """Watches turns.

    Args:
        mode: ``warn`` logs each place once; ``raise`` raises at the call.
    """

    def __init__(self, mode: DeterminismGuards) -> None:
        self._raises = mode == "raise"
        self._reported: set[tuple[str, str]] = set()

    def watch(self, make_turn: Callable[[], T]) -> T:
        """Make a turn under guard, in this thread; unguarded if a profiler is at work in it."""
        before: Any = sys.getprofile()
        if before is not None and not callable(before):
            return make_turn()  # a profiler written in C, which only itself can set
        sys.setprofile(self._profile)
        try:
            return make_turn()
        finally:
            sys.setprofile(before)

    def _profile(self, frame: FrameType, event: str, function: Any) -> None:
        if event != "c_call":
            return
        found = _FORBIDDEN.get(function) or _forbidden_method(function, frame)
        if found is None:
            return
        place = _calling_place(frame)
        if place is None:
            return
        name, reason = found
        message = (
            f"The orchestrator calls {name} ({place}): {reason}. Otherwise a replay goes another "
            "way than its history, or does things again."
        )
        if self._raises:
            raise OrchestratorError(message)
        if (name, place) not in self._reported:
            self._reported.add((name, place))
            logger.warning("%s", message)


def _forbidden_method(function: Any, frame: FrameType) -> tuple[str, str] | None:
    owner = getattr(function, "__self__", None)
    if owner is _SHARED_GENERATOR:
        return f"random.{function.__name__}", _CHANCE
    if isinstance(owner, random.Random):
        # A generator of the user's own is fine if it has a seed; `a` is what it is called there.
        is_seedless = function.__name__ == "seed" and frame.f_locals.get("a", owner) is None
        return ("random.Random without a seed", _CHANCE) if is_seedless else None
    if isinstance(owner, type):
        if issubclass(owner, date) and function.__name__ in _NOW:
            return f"{owner.__name__}.{function.__name__}", _CLOCK
    elif isinstance(owner, socket.SocketType) and function.__name__ in _SOCKET_METHODS:
        return f"socket.{function.__name__}", _OUTSIDE
    return None


def _calling_place(frame: FrameType | None) -> str | None:
    """Return the line of the user's code that led to a call, None if none of it did.

    That is the innermost line outside the standard library, above durableflow's own frames.
    """
    place = None
    while frame is not None:
        package = str(frame.f_globals.get("__name__")).partition(".")[0]
        if package == _OWN_PACKAGE:
            break
        if package in _EXEMPT or _clears_up(frame):
            return None
        if place is None and package not in sys.stdlib_module_names:
            place = f"{frame.f_code.co_filename}:{frame.f_lineno}"
        frame = frame.f_back
    return place


def _clears_up(frame: FrameType) -> bool:
    """Whether Python itself has called a function, because memory is freed.

    Such a call looks as if the line that ran just then had made it: a ``__del__``, the callback of
    a weak reference, which is given a dead one, or one of ``gc.callbacks``, which are given a phase
    and a table.  This is asked for forbidden calls only, so it may take its time.
    """
    code = frame.f_code
    if code.co_name == "__del__":
        return True
    names = code.co_varnames
    arguments: list[Any] = [frame.f_locals.get(name) for name in names[: code.co_argcount]]
    if code.co_flags & inspect.CO_VARARGS:
        arguments += frame.f_locals.get(names[code.co_argcount + code.co_kwonlyargcount], ())
    # By their types: `isinstance` may ask the argument itself, which is the user's.
    for argument in arguments:
        if issubclass(type(argument), ReferenceType) and argument() is None:
            return True
    if len(arguments) < 2 or type(arguments[-2]) is not str or type(arguments[-1]) is not dict:
        return False
    return arguments[-2] in _COLLECTIONS and {"generation", "collected"} <= arguments[-1].keys()
