"""Orchestrators under guard."""

from __future__ import annotations

import contextlib
import cProfile
import datetime as dt
import gc
import logging
import os
import random
import secrets
import socket
import sys
import threading
import time
import uuid
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from durableflow import OrchestratorError
from durableflow.worker.guards import Guard

HERE = __file__


def connect() -> None:
    with socket.socket() as it:
        it.connect(("127.0.0.1", 9))


FORBIDDEN: dict[str, Callable[[], Any]] = {
    "time.time": time.time,
    "time.monotonic": lambda: time.monotonic(),
    "time.perf_counter_ns": lambda: time.perf_counter_ns(),
    "time.sleep": lambda: time.sleep(0),
    "datetime.now": lambda: dt.datetime.now(dt.UTC),
    "datetime.utcnow": lambda: dt.datetime.utcnow(),  # noqa: DTZ003 -- what is guarded against
    "date.today": lambda: dt.date.today(),  # noqa: DTZ011 -- what is guarded against
    "datetime.today": lambda: dt.datetime.today(),  # noqa: DTZ002 -- what is guarded against
    "random.random": lambda: random.random(),
    "random.getrandbits": lambda: random.choice([1, 2, 3]),
    "random.seed": lambda: random.seed(1),
    "random.Random": lambda: random.Random(),
    "os.urandom": lambda: uuid.uuid4(),
    "uuid.uuid1": lambda: uuid.uuid1(),
    "os.urandom ": lambda: secrets.token_hex(),
    "os.urandom  ": lambda: os.urandom(1),
    "os.listdir": lambda: os.listdir("."),  # noqa: PTH208 -- what is guarded against
    "open": lambda: Path(HERE).read_text(),
    "open ": lambda: open(HERE).close(),  # noqa: PTH123 -- what is guarded against
    "socket.connect": connect,
    "socket.getaddrinfo": lambda: socket.create_connection(("127.0.0.1", 9)),
    "thread.start": lambda: threading.Thread(target=int).start(),
}


def watched(mode: Any, code: Callable[[], Any]) -> Any:
    return Guard(mode).watch(code)


@pytest.mark.parametrize("name", FORBIDDEN)
def test_what_differs_from_run_to_run_is_refused_with_its_line(name: str):
    def order() -> None:
        code()

    code = FORBIDDEN[name]

    with pytest.raises(OrchestratorError) as info:
        watched("raise", order)

    message = str(info.value)
    module, _, function = name.strip().rpartition(".")
    assert function in message
    assert module in message
    assert f"{HERE}:" in message


def shares_the_clock_with_everybody() -> None:
    time.time()


def test_the_innermost_line_of_the_program_is_named():
    with pytest.raises(OrchestratorError) as info:
        watched("raise", shares_the_clock_with_everybody)

    line = shares_the_clock_with_everybody.__code__.co_firstlineno + 1
    assert str(info.value) == (
        f"The orchestrator calls time.time ({HERE}:{line}): the clock; use "
        "`ctx.current_utc_datetime`. Otherwise a replay goes another way than its history, or does "
        "things again."
    )


ALLOWED: dict[str, Callable[[], Any]] = {
    "a generator with a seed": lambda: random.Random(42).random(),
    "a generator seeded later": lambda: random.Random("a1").seed("a2"),
    "time from numbers": lambda: (time.gmtime(0), dt.datetime(2030, 1, 1, tzinfo=dt.UTC)),
    "arithmetic": lambda: sum(range(100)) * len("text"),
    "logging": lambda: logging.getLogger("shop").error("sold"),
    "an import": lambda: __import__("this_module_does_not_exist_anywhere"),
}


@pytest.mark.parametrize("name", ALLOWED)
def test_what_is_the_same_in_each_replay_is_not_refused(name: str):
    def order() -> None:
        with contextlib.suppress(ImportError):
            ALLOWED[name]()

    watched("raise", order)


def test_what_durableflow_itself_calls_does_not_count():
    own: dict[str, Any] = {"__name__": "durableflow.somewhere", "time": time}
    exec("def read():\n    return time.time()", own)

    assert watched("raise", own["read"]) > 0


def test_code_of_the_program_that_durableflow_calls_counts():
    own: dict[str, Any] = {"__name__": "durableflow.somewhere"}
    exec("def call(function):\n    return function()", own)

    with pytest.raises(OrchestratorError):
        watched("raise", lambda: own["call"](shares_the_clock_with_everybody))


def test_the_call_is_not_made():
    made: list[int] = []

    class Socket(socket.socket):
        pass

    with Socket() as it, pytest.raises(OrchestratorError):
        watched("raise", lambda: made.append(it.bind(("127.0.0.1", 0)) or 1))

    assert made == []


def test_a_warning_is_logged_once_for_each_place(caplog: pytest.LogCaptureFixture):
    guard = Guard("warn")

    results = [guard.watch(lambda: time.time() + time.time()) for _ in range(3)]
    guard.watch(shares_the_clock_with_everybody)

    assert all(results)
    assert [r.levelname for r in caplog.records] == ["WARNING", "WARNING"]


def test_the_result_and_the_errors_of_the_turn_are_passed_on():
    assert watched("raise", lambda: 5) == 5
    with pytest.raises(ZeroDivisionError):
        watched("raise", lambda: 1 / 0)


def test_only_the_turn_is_watched():
    with pytest.raises(OrchestratorError):
        watched("raise", shares_the_clock_with_everybody)

    assert time.time() > 0


def test_other_threads_are_not_watched():
    begin, done = threading.Event(), threading.Event()
    seen: list[float] = []

    def elsewhere() -> None:
        begin.wait(10)
        seen.append(time.time())
        done.set()

    thread = threading.Thread(target=elsewhere)
    thread.start()
    watched("raise", lambda: (begin.set(), done.wait(10)))
    thread.join(10)

    assert seen


def test_a_profiler_goes_on_after_the_turn():
    profiler = cProfile.Profile()

    with profiler:
        watched("warn", lambda: None)
        shares_the_clock_with_everybody()

    names = {getattr(entry.code, "co_name", "") for entry in profiler.getstats()}
    assert shares_the_clock_with_everybody.__name__ in names


def test_a_profile_function_goes_on_after_the_turn():
    def profile(*_: Any) -> None: ...

    sys.setprofile(profile)
    try:
        watched("warn", lambda: None)
        after = sys.getprofile()
    finally:
        sys.setprofile(None)

    assert after is profile


# What Python runs in between when it frees memory


class Thing:
    """Is in a cycle, so that only the collector frees it."""

    def __init__(self) -> None:
        self.itself = self


class Finalized(Thing):
    def __del__(self) -> None:
        shares_the_clock_with_everybody()


def on_collection(phase: str, info: dict[str, int]) -> None:
    shares_the_clock_with_everybody()


class Callbacks:
    def on_collection(self, *arguments: Any) -> None:
        shares_the_clock_with_everybody()

    def on_death(self, dead: Any) -> None:
        shares_the_clock_with_everybody()


def free_what_has_a_del() -> None:
    Finalized()
    gc.collect()


def free_what_is_referred_to_weakly() -> None:
    thing = Thing()
    reference = weakref.ref(thing, Callbacks().on_death)
    del thing
    gc.collect()
    assert reference() is None


def free_what_is_finalized() -> None:
    weakref.finalize(Thing(), shares_the_clock_with_everybody)
    gc.collect()


FREEING: dict[str, tuple[Callable[[], None], Callable[..., None] | None]] = {
    "__del__": (free_what_has_a_del, None),
    "a weak reference": (free_what_is_referred_to_weakly, None),
    "finalize": (free_what_is_finalized, None),
    "a function of gc.callbacks": (lambda: gc.collect() and None, on_collection),
    "a method of gc.callbacks": (lambda: gc.collect() and None, Callbacks().on_collection),
}


@pytest.mark.parametrize("name", FREEING)
def test_what_python_runs_when_it_frees_memory_does_not_count(
    name: str, caplog: pytest.LogCaptureFixture
):
    free, callback = FREEING[name]
    if callback is not None:
        gc.callbacks.append(callback)
    try:
        watched("warn", free)
    finally:
        if callback is not None:
            gc.callbacks.remove(callback)

    assert [record.getMessage() for record in caplog.records] == []


def test_functions_of_the_program_that_take_such_arguments_count():
    def order(phase: str, info: dict[str, int], reference: Any) -> None:
        time.time()

    thing = Thing()

    with pytest.raises(OrchestratorError):
        watched("raise", lambda: order("start", {}, weakref.ref(thing)))
