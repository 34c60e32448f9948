"""Runs activities in processes beside the worker: ``ActivityProcesses``.

For work that keeps a processor busy, and for code that may crash or hang: a process can be ended.
Processes are started by *spawn*, one for each activity that runs at the same time, and used again
and again.
"""

from __future__ import annotations

import logging
import multiprocessing
import signal
import sys
import threading
from collections.abc import Callable
from functools import cached_property
from types import ModuleType
from typing import Any, Final

from durableflow._proto import task_hub_pb2 as pb
from durableflow.errors import ActivityCrashedError, RegistrationError
from durableflow.plugins import PluginSet
from durableflow.registry import ActivityDefinition, Registry
from durableflow.worker.activity_runner import ActivityJob
from durableflow.worker.child import BEGUN, Call, Place, serve

PROCESS_NAME: Final = "durableflow-activity-process"


class ActivityProcesses:
    """The processes of one worker.  Any thread may call its methods.

    Args:
        app: The app, which the processes look for in the modules of the program.
        max_payload_bytes: How large a result may be.
    """

    def __init__(self, app: object, plugins: PluginSet, *, max_payload_bytes: int) -> None:
        self._app = app
        self._max_payload_bytes = max_payload_bytes
        self._plugins = plugins
        self._lock = threading.Lock()
        self._free: list[_Process] = []
        self._busy: dict[ActivityJob, _Process] = {}
        self._closed = False

    def check(self, registry: Registry) -> None:
        """Make sure that the processes would convert payloads as the worker does.

        Raises:
            RegistrationError: says how to make it possible.
        """
        names = [d.name for d in registry.activities() if d.executor == "process"]
        if names and self._app_place is None and self._plugins.implement("configure_converter"):
            raise RegistrationError(
                f"Activity '{names[0]}' is to run in other processes. These import the program, "
                "and need its App for what plugins taught its converter, but no module has the "
                "App in a variable. Make it at the top of a module: `app = App(...)`."
            )

    def run(
        self, job: ActivityJob, definition: ActivityDefinition, begun: Callable[[], None]
    ) -> None:
        """Run an activity in a process to its end; blocks.  Never raises.

        Args:
            begun: Called when the process has started and imported what it needs.
        """
        try:
            process = self._take(job)
            try:
                call = self._call(definition.function)
                job.result, job.failure = process.run(call, job.request, begun)
            finally:
                self._put_back(job, process)
        except Exception as error:  # noqa: BLE001  # running an activity: whatever befalls it
            job.fail(error)

    def end(self, job: ActivityJob) -> None:
        """End the process that runs a job, if one does."""
        with self._lock:
            process = self._busy.get(job)
            if process is not None:
                process.kill()

    def close(self) -> None:
        """End all processes, and wait for those that run nothing; what the others run is lost."""
        with self._lock:
            self._closed = True
            free, self._free = self._free, []
            for process in (*free, *self._busy.values()):
                process.kill()
        for process in free:
            process.close()

    def _take(self, job: ActivityJob) -> _Process:
        with self._lock:
            process = self._free.pop() if self._free else None
        if process is None or not process.is_usable:
            process = _Process()
        with self._lock:
            self._busy[job] = process
            if self._closed:
                process.kill()
        return process

    def _put_back(self, job: ActivityJob, process: _Process) -> None:
        with self._lock:
            del self._busy[job]
            if process.is_usable:
                self._free.append(process)
                return
        process.close()

    def _call(self, function: Callable[..., Any]) -> Call:
        root = logging.getLogger()
        return Call(
            function=_place_of(function),
            app=self._app_place,
            max_payload_bytes=self._max_payload_bytes,
            log_level=root.level if root.handlers else None,
        )

    @cached_property
    def _app_place(self) -> Place | None:
        for module_name, module in list(sys.modules.items()):
            for name, value in list(vars(module).items() if isinstance(module, ModuleType) else ()):
                if value is self._app:
                    return Place(module_name, name)
        return None


class _Process:
    """A process and the line to it."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._line, theirs = context.Pipe()
        self._process = context.Process(
            target=serve, args=(theirs,), name=PROCESS_NAME, daemon=True
        )
        self._process.start()
        theirs.close()
        self._killed = False

    @property
    def is_usable(self) -> bool:
        return not self._killed and self._process.is_alive()

    def run(
        self, call: Call, request: pb.ActivityRequest, begun: Callable[[], None]
    ) -> tuple[str | None, pb.TaskFailureDetails | None]:
        """Have a call answered.

        Raises:
            ActivityCrashedError: the process ended instead.
        """
        try:
            self._line.send_bytes(call.to_bytes())
            self._line.send_bytes(request.SerializeToString())
            answer = self._line.recv_bytes()
            if answer == BEGUN:
                begun()
                answer = self._line.recv_bytes()
        except (EOFError, OSError):
            raise ActivityCrashedError(
                f"The process of activity '{request.name}' {self._end()}."
            ) from None
        response = pb.ActivityResponse.FromString(answer)
        if response.HasField("failureDetails"):
            return None, response.failureDetails
        return (response.result.value if response.HasField("result") else None), None

    def kill(self) -> None:
        self._killed = True
        self._process.kill()

    def close(self) -> None:
        """Reap the process, which has ended or is about to."""
        self._process.join()
        self._process.close()
        self._line.close()

    def _end(self) -> str:
        """Say how it ended."""
        self._process.join()
        status = self._process.exitcode or 0
        if status >= 0:
            return f"ended itself with status {status}"
        name = signal.Signals(-status).name
        memory = " (the system may have run out of memory)" if -status == signal.SIGKILL else ""
        return f"was ended by {name}{memory}"


def _place_of(function: Callable[..., Any]) -> Place:
    return Place(function.__module__, function.__qualname__)
