"""What else there is to know of large payloads, on Azurite, with all requests counted.

``python -m benchmarks.payloads`` prints how long a replay from nothing of a long history takes, and a
wide fan-out, and how much memory, each in a process of its own.  The chain of W5 is in ``passing``.
The emulator takes Node.js.
"""

from __future__ import annotations

import importlib.util
import random
import re
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final, TypeAlias

from attrs import define

from durableflow import App, Orchestration, OrchestrationContext, when_all
from durableflow_blob import BlobPayloads

MEGABYTE: Final = 1_000_000
STEPS: Final = 10
LONG: Final = 200
WIDTH: Final = 100
TIMEOUT: Final = 300

EMULATOR: Final = Path(__file__).parents[1] / "tests" / "azurite" / "emulator.py"
REQUEST: Final = re.compile(rb'"(GET|PUT|HEAD|DELETE) /\S+ HTTP')


def text_of(size: int, seed: int = 0) -> str:
    """Text that compresses by half, as identifiers and numbers do."""
    return random.Random(seed).randbytes(size // 2).hex()


@define
class Emulator:
    connection_string: str
    log: Path

    def requests(self) -> Counter[str]:
        return Counter(name.decode() for name in REQUEST.findall(self.log.read_bytes()))


@contextmanager
def emulator(folder: Path) -> Iterator[Emulator]:
    spec = importlib.util.spec_from_file_location("emulator", EMULATOR)
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    log = folder / "azurite.log"
    with module.running(log) as port:
        yield Emulator(module.connection_string(port), log)


def make_app(plugin: BlobPayloads | None, **settings: Any) -> App:
    # Sessions are bounded by what they have been given, so one of 200 MB needs room.
    settings = {"session_cache_bytes": 500 * MEGABYTE, **settings}
    app = App("payloads", plugins=[] if plugin is None else [plugin], **settings)

    @app.activity
    def change(text: str) -> str:
        return text[1:] + text[0]

    @app.activity
    def make(number: int) -> str:
        return text_of(MEGABYTE, number)

    @app.activity
    def make_two(number: int) -> str:
        return text_of(2 * MEGABYTE, number)

    @app.orchestrator
    def chain(ctx: OrchestrationContext, text: str) -> Orchestration[str]:
        for _ in range(STEPS):
            text = yield ctx.call_activity(change, input=text)
        return text

    @app.orchestrator
    def long(ctx: OrchestrationContext, steps: int) -> Orchestration[int]:
        size = 0
        for number in range(steps):
            size += len((yield ctx.call_activity(make, input=number)))
        yield ctx.wait_for_external_event("go")
        return size

    @app.orchestrator
    def fan(ctx: OrchestrationContext, width: int) -> Orchestration[int]:
        texts = yield when_all([ctx.call_activity(make_two, input=n) for n in range(width)])
        return sum(map(len, texts))

    return app


def plugin_for(storage: Emulator) -> BlobPayloads:
    return BlobPayloads(connection_string=storage.connection_string)


def make_history(storage: Emulator, folder: Path) -> float:
    """Make a long history that waits for an event."""
    hub = f"sqlite:///{folder / 'long.db'}"
    begin = time.perf_counter()
    with make_app(plugin_for(storage)).running(task_hub=hub) as client:
        client.schedule_new_orchestration("long", input=LONG, instance_id="long")
        with make_app(None).client(task_hub=hub) as plain:  # which reads no payloads
            completed = 0
            while completed < LONG:
                time.sleep(0.2)
                history = plain.get_orchestration_history("long")
                completed = sum(event.kind == "task_completed" for event in history)
    return time.perf_counter() - begin


def replay(storage: Emulator, folder: Path) -> float:
    """Replay it from nothing, on a worker that has nothing in its cache."""
    hub = f"sqlite:///{folder / 'long.db'}"
    begin = time.perf_counter()
    with make_app(plugin_for(storage)).running(task_hub=hub) as client:
        client.raise_orchestration_event("long", "go", data=None)
        client.wait_for_orchestration_completion("long", timeout=TIMEOUT)
    return time.perf_counter() - begin


def fan_out(storage: Emulator, folder: Path) -> float:
    with make_app(plugin_for(storage)).running(task_hub=f"sqlite:///{folder / 'f.db'}") as client:
        return timed(lambda: client.run_orchestration("fan", input=WIDTH, timeout=TIMEOUT))


def timed(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


Part: TypeAlias = Callable[[Emulator, Path], float]

# What is measured last, after what has to be there for it.
CASES: Final[dict[str, tuple[Part, ...]]] = {
    f"replay of {LONG} results of 1 MB": (make_history, replay),
    f"fan-out: {WIDTH} results of 2 MB": (fan_out,),
}


def alone(part: Part, storage: Emulator, folder: Path) -> tuple[float, float]:
    """Return seconds, and the peak of the memory in MB, of a process that does nothing else."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(_measured, part, storage, folder).result()


def _measured(part: Part, storage: Emulator, folder: Path) -> tuple[float, float]:
    seconds = part(storage, folder)
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    print(f"{'':44} {'s':>8} {'GET':>6} {'PUT':>6} {'peak MB':>8}")
    for title, parts in CASES.items():
        with tempfile.TemporaryDirectory() as folder, emulator(Path(folder)) as storage:
            for part in parts:
                storage.log.write_bytes(b"")
                seconds, peak = alone(part, storage, Path(folder))
            requests = storage.requests()
        print(
            f"{title:44} {seconds:8.2f} {requests['GET']:6} {requests['PUT']:6} {peak:8.0f}",
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(main())
