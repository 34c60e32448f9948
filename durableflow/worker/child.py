"""The other end of ``processes``: a process that runs one activity after another.

It is told which function to run by module and qualified name, imports it, and calls it as a thread
of the worker would.  Input and result travel in the messages of the protocol, as JSON text;
nothing is pickled.  (Making an app has no effects, so importing the program does not start it.)
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import signal
import threading
from functools import cache, reduce
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait
from typing import Any, Final, Protocol

from attrs import asdict, frozen

from durableflow._proto import task_hub_pb2 as pb
from durableflow.converter import Converter
from durableflow.registry import ActivityDefinition, Registry
from durableflow.worker.activity_runner import ActivityJob, ActivityRunner

BEGUN: Final = b"begun"
"""Comes before the response once the function runs."""

LOG_FORMAT: Final = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


@frozen
class Place:
    """Where something stands in a program: a module, and a name in it."""

    module: str
    qualname: str

    def find(self) -> Any:
        """Import the module, and return what stands there."""
        module = importlib.import_module(self.module)
        return reduce(getattr, self.qualname.split("."), module)


@frozen
class Call:
    """What to run, beside the request.

    Attributes:
        function: The activity.
        app: The app that it belongs to; None if no module holds one.
        max_payload_bytes: How large its result may be.
        log_level: That of the worker's root logger; None if logging is not configured there.
    """

    function: Place
    app: Place | None
    max_payload_bytes: int
    log_level: int | None

    def to_bytes(self) -> bytes:
        """Write it as JSON."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_bytes(cls, text: bytes) -> Call:
        """Read what ``to_bytes`` wrote."""
        members = json.loads(text)
        function, app = members.pop("function"), members.pop("app")
        return cls(Place(**function), app and Place(**app), **members)


class _App(Protocol):
    @property
    def converter(self) -> Converter: ...


def serve(connection: Connection) -> None:
    """Answer calls until the worker closes its end, or is gone."""
    # A signal for the whole group of processes is the worker's affair: it drains, then ends us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=_end_with_worker, daemon=True).start()
    while True:
        try:
            call = Call.from_bytes(connection.recv_bytes())
            request = pb.ActivityRequest.FromString(connection.recv_bytes())
        except EOFError:
            return
        if call.log_level is not None and not logging.getLogger().handlers:
            logging.basicConfig(level=call.log_level, format=LOG_FORMAT)
        _answer(connection, call, request)


def _end_with_worker() -> None:
    worker = parent_process()
    if worker is not None:
        wait([worker.sentinel])
        os._exit(1)  # whatever runs, nobody is left to hear of it


def _answer(connection: Connection, call: Call, request: pb.ActivityRequest) -> None:
    job = ActivityJob(request, "", None)
    try:
        job.definition = _definition(call.function)
        runner = _runner(call.app, call.max_payload_bytes)
    except BaseException as error:  # noqa: BLE001  # the program's import is part of the activity
        job.fail(error, is_final=True)
    else:
        connection.send_bytes(BEGUN)
        runner.run(job)
    connection.send_bytes(job.response().SerializeToString())


@cache
def _definition(function: Place) -> ActivityDefinition:
    return Registry().add_activity(function.find())


@cache
def _runner(place: Place | None, max_payload_bytes: int) -> ActivityRunner:
    app: _App | None = None if place is None else place.find()
    return ActivityRunner(
        registry=Registry(),
        converter=Converter() if app is None else app.converter,
        app=app,
        state=None,
        max_payload_bytes=max_payload_bytes,
    )
