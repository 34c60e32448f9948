"""W5: a chain of ten activities that passes a megabyte through, with and without a payload store.

The store is the emulator, Azurite.  As a module that is run it is a worker:
``python -m benchmarks.passing ADDRESS ROLE [CONNECTION_STRING]``.
"""

from __future__ import annotations

import logging
import socket
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, TypeAlias

from azure.storage.blob import BlobServiceClient
from durabletask.client import TaskHubGrpcClient
from durabletask.extensions.azure_blob_payloads import BlobPayloadStore, BlobPayloadStoreOptions
from durabletask.testing import create_test_backend
from durabletask.worker import TaskHubGrpcWorker

from benchmarks.payloads import (
    MEGABYTE,
    STEPS,
    TIMEOUT,
    Emulator,
    emulator,
    make_app,
    plugin_for,
    text_of,
    timed,
)
from benchmarks.processes import Process
from benchmarks.sizes import Sizes
from benchmarks.systems.remote import serving
from durableflow import App, Client, Orchestration, OrchestrationContext

Results: TypeAlias = dict[str, float]
Run: TypeAlias = Callable[[str], object]

QUIET: Final = logging.getLogger("quiet")
QUIET.setLevel(logging.CRITICAL)

# Where the public package's store looks unless it is told otherwise, and where ours does.
CONTAINERS: Final = ("durabletask-payloads", "durableflow-payloads")
KEEPING, FORGETTING = "keeping", "forgetting"


def measure_inline(system: str, folder: Path, sizes: Sizes) -> Results:
    """Let the payloads travel as they are."""
    with RUNNING[system](folder, None) as run:
        return {"w5_inline": _median(run, sizes)}


def measure_stored(system: str, folder: Path, sizes: Sizes) -> Results:
    """Let them be stored, and count the requests of one chain."""
    with emulator(folder) as storage:
        _make_containers(storage)
        with RUNNING[system](folder, storage) as run:
            seconds = _median(run, sizes)
            before = storage.requests()
            run(text_of(MEGABYTE, 1001))
            requests = storage.requests() - before
        results = {
            "w5_stored": seconds,
            "w5_uploads": requests["PUT"],
            "w5_downloads": requests["GET"],
        }
        if system in HOLDING:
            results |= _replays(HOLDING[system], folder / "replayed.db", storage)
    return results


def _replays(holding: Holding, database: Path, storage: Emulator) -> Results:
    """Count what a worker reads that replays the chain: with an empty cache, and once more."""
    with holding(database, storage, KEEPING) as client:
        client.schedule_new_orchestration("paused", input=text_of(MEGABYTE, 1002), instance_id="p")
        _wait_for_pause(client, 0)
    gets = []
    with holding(database, storage, FORGETTING) as client:
        for number in (1, 2):
            before = storage.requests()
            client.raise_orchestration_event("p", "go")
            _wait_for_pause(client, number)
            gets.append((storage.requests() - before)["GET"])
    return {"w5_cold": gets[0], "w5_warm": gets[1]}


def _wait_for_pause(client: Client, number: int) -> None:
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        state = client.get_orchestration_state("p", fetch_payloads=False)
        if state is not None and state.get_custom_status() == number:
            return
        time.sleep(0.02)
    raise TimeoutError(f"The worker has not come to pause {number}.")


def app_for(storage: Emulator | None, role: str = KEEPING) -> App:
    """Make the app; one that forgets replays every turn from nothing."""
    settings: dict[str, Any] = {"session_cache_bytes": 1} if role == FORGETTING else {}
    app = make_app(None if storage is None else plugin_for(storage), **settings)

    @app.orchestrator
    def paused(ctx: OrchestrationContext, text: str) -> Orchestration[int]:
        for _ in range(STEPS):
            text = yield ctx.call_activity("change", input=text)
        for number in range(3):
            ctx.set_custom_status(number)
            yield ctx.wait_for_external_event("go")
        return len(text)

    return app


@contextmanager
def in_process(database: Path, storage: Emulator | None, role: str) -> Iterator[Client]:
    with app_for(storage, role).running(task_hub=f"sqlite:///{database}") as client:
        yield client


@contextmanager
def over_grpc(database: Path, storage: Emulator | None, role: str) -> Iterator[Client]:
    where = [] if storage is None else [storage.connection_string]
    with (
        serving(database) as (address, _),
        Process("benchmarks.passing", address, role, *where) as worker,
    ):
        worker.read_line()
        with app_for(storage).client(task_hub=address) as client:
            yield client


Holding: TypeAlias = Callable[[Path, Emulator | None, str], AbstractContextManager[Client]]

HOLDING: Final[dict[str, Holding]] = {"inprocess": in_process, "remote": over_grpc}


@contextmanager
def ours(holding: Holding, folder: Path, storage: Emulator | None) -> Iterator[Run]:
    with holding(folder / "bench.db", storage, KEEPING) as client:
        yield lambda text: client.run_orchestration("chain", input=text, timeout=TIMEOUT)


@contextmanager
def theirs(storage: Emulator | None) -> Iterator[Run]:
    """The durabletask package: its worker, client, store and in-memory backend."""

    def change(ctx: Any, text: str) -> str:
        return text[1:] + text[0]

    def chain(ctx: Any, text: str) -> Any:
        for _ in range(STEPS):
            text = yield ctx.call_activity(change, input=text)
        return text

    with ExitStack() as undo:
        store = None
        if storage is not None:
            options = BlobPayloadStoreOptions(connection_string=storage.connection_string)
            store = undo.enter_context(BlobPayloadStore(options))
        with socket.socket() as free:
            free.bind(("", 0))
            port = free.getsockname()[1]
        backend = create_test_backend(port)
        undo.callback(backend.stop)
        address = f"localhost:{port}"
        worker = TaskHubGrpcWorker(host_address=address, payload_store=store, logger=QUIET)
        worker.add_orchestrator(chain)
        worker.add_activity(change)
        worker.start()
        undo.callback(worker.stop)
        client = TaskHubGrpcClient(host_address=address, payload_store=store, logger=QUIET)
        undo.callback(client.close)

        def run(text: str) -> None:
            instance_id = client.schedule_new_orchestration(chain, input=text)
            state = client.wait_for_orchestration_completion(instance_id, timeout=TIMEOUT)
            if state is None or state.failure_details is not None:
                raise RuntimeError(f"The chain did not complete: {state}")

        yield run


RUNNING: Final[dict[str, Callable[[Path, Emulator | None], AbstractContextManager[Run]]]] = {
    "inprocess": lambda folder, storage: ours(in_process, folder, storage),
    "remote": lambda folder, storage: ours(over_grpc, folder, storage),
    # Never without a store: a history of ten results of 1 MB is more than its messages may hold.
    "sdk": lambda _, storage: theirs(storage),
}


def _median(run: Run, sizes: Sizes) -> float:
    """Measure after a warm-up, each time with other text, since what is stored is stored once."""
    run(text_of(MEGABYTE))
    texts = [text_of(MEGABYTE, seed) for seed in range(1, sizes.repetitions + 1)]
    return statistics.median(timed(lambda text=text: run(text)) for text in texts)


def _make_containers(storage: Emulator) -> None:
    with BlobServiceClient.from_connection_string(storage.connection_string) as service:
        for name in CONTAINERS:
            service.create_container(name)


def main() -> None:
    address, role, *where = sys.argv[1:]
    storage = Emulator(where[0], Path()) if where else None
    app = app_for(storage, role)
    app.start(task_hub=address)
    print("ready", flush=True)
    sys.stdin.read()
    app.stop()


if __name__ == "__main__":
    main()
