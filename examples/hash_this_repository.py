"""Hashes and word counts of this repository's own files, through a killed worker.

The files are cut into pages, so that there are a few hundred.  Every page gets an orchestration of
its own (a chain of activities); two more fan out over all pages.  Half-way the worker process is
killed with SIGKILL and started again.  At the end everything is compared with a plain loop.

Run it with ``python examples/hash_this_repository.py``, or ``make run``.
"""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from attrs import frozen

from durableflow import (
    App,
    Client,
    Orchestration,
    OrchestrationContext,
    OrchestrationQuery,
    OrchestrationStatus,
    when_all,
)

REPOSITORY = Path(__file__).resolve().parent.parent
LINES_PER_PAGE = 60
MOST_PAGES = 300
TEXT_SUFFIXES = {".cfg", ".md", ".proto", ".py", ".pyi", ".sql", ".toml", ".tsv", ".txt", ".yml"}
HASH_ROUNDS = 40_000  # slow on purpose: there has to be time to kill somebody

app = App("hash_this_repository", max_concurrent_activities=4)  # the work is for processors


@frozen
class Page:
    path: str
    digest: str
    words: int


@frozen
class Results:
    pages: list[Page]
    digest: str
    favourites: dict[str, int]


@app.activity
def digest(path: str) -> str:
    return hashlib.pbkdf2_hmac("sha256", Path(path).read_bytes(), b"", HASH_ROUNDS).hex()


@app.activity
def count_words(path: str) -> int:
    return len(Path(path).read_text().split())


@app.activity
def quick_digest(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


@app.activity
def most_common_word(path: str) -> str:
    words = Counter(Path(path).read_text().split())
    return max(sorted(words), key=words.__getitem__, default="")


@app.activity
def digest_of(digests: list[str]) -> str:
    return hashlib.sha256("".join(digests).encode()).hexdigest()


@app.orchestrator
def describe_page(ctx: OrchestrationContext, path: str) -> Orchestration[Page]:
    """A chain: two activities one after the other."""
    words = yield ctx.call_activity(count_words, input=path)
    page_digest = yield ctx.call_activity(digest, input=path)
    return Page(path, page_digest, words)


@app.orchestrator
async def describe_all(ctx: OrchestrationContext, paths: list[str]) -> str:
    """A fan-out over all pages, and one digest of all digests."""
    digests = await when_all([ctx.call_activity(quick_digest, input=path) for path in paths])
    return await ctx.call_activity(digest_of, input=digests)


@app.orchestrator
def favourite_words(ctx: OrchestrationContext, paths: list[str]) -> Orchestration[dict[str, int]]:
    """Another fan-out: on how many pages each word is the most common one."""
    words = yield when_all([ctx.call_activity(most_common_word, input=path) for path in paths])
    return dict(Counter(words).most_common(5))


def cut_into_pages(folder: Path) -> list[str]:
    """Copy this repository's text files into a folder, a few lines to a file."""
    pages: list[str] = []
    for source in sorted(text_files(REPOSITORY)):
        lines = source.read_text(errors="replace").splitlines(keepends=True)
        name = "-".join(source.relative_to(REPOSITORY).parts)
        for start in range(0, len(lines), LINES_PER_PAGE):
            page = folder / f"{name}.{start // LINES_PER_PAGE:03}"
            page.write_text("".join(lines[start : start + LINES_PER_PAGE]))
            pages.append(str(page))
    every = max(1, -(-len(pages) // MOST_PAGES))
    return pages[::every]


def text_files(folder: Path) -> Iterator[Path]:
    """Yield the files that a person wrote: no caches, no environments, nothing hidden."""
    for entry in folder.iterdir():
        if entry.name.startswith(".") or entry.name in {"build", "dist", "__pycache__"}:
            continue
        if entry.is_dir() and not (entry / "pyvenv.cfg").exists():
            yield from text_files(entry)
        elif entry.suffix in TEXT_SUFFIXES:
            yield entry


class Worker:
    """A worker process, started as it is in production."""

    def __init__(self, task_hub: str, folder: Path) -> None:
        self.task_hub = task_hub
        self.log = folder / "worker.log"
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "durableflow", "run", f"{Path(__file__).stem}:app"]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [*command, "--task-hub", self.task_hub],
                cwd=Path(__file__).parent,
                stdout=log,
                stderr=log,
            )
        while "serves app" not in self.log.read_text():
            self.check()
            time.sleep(0.02)
        print(f"worker {self.process.pid} started")

    def check(self) -> None:
        """Exit if the process has ended by itself."""
        if self.process.poll() is not None:
            sys.exit(f"worker {self.process.pid} ended by itself:\n{self.log.read_text()}")

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        print(f"worker {self.process.pid} killed: exit status {self.process.wait()}")

    def stop(self) -> None:
        self.process.terminate()
        print(f"worker {self.process.pid} stopped: exit status {self.process.wait()}")


class Progress:
    """One line that is written over on a terminal; elsewhere a line now and then."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.started = time.monotonic()
        self.tenths = -1

    def show(self, done: int) -> None:
        seconds = time.monotonic() - self.started
        if sys.stdout.isatty():
            bar = ("#" * (done * 40 // self.total)).ljust(40, ".")
            print(f"\r[{bar}] {done} of {self.total}, {seconds:.1f} s ", end="", flush=True)
        elif done * 10 // self.total != self.tenths:
            self.tenths = done * 10 // self.total
            print(f"{done} of {self.total} finished, {seconds:.1f} s", flush=True)

    def end_line(self) -> None:
        if sys.stdout.isatty():
            print()


def count_finished(client: Client) -> int:
    query = OrchestrationQuery(runtime_status=[OrchestrationStatus.COMPLETED])
    return sum(1 for _ in client.query_orchestrations(query))


def run_through_a_kill(client: Client, worker: Worker, pages: list[str]) -> Results:
    """Start everything, kill the worker half-way, start it again, and collect the results."""
    total = client.schedule_new_orchestration(describe_all, input=pages)
    words = client.schedule_new_orchestration(favourite_words, input=pages)
    with ThreadPoolExecutor(16) as threads:  # many threads may share a client
        singles = list(
            threads.map(
                lambda page: client.schedule_new_orchestration(describe_page, input=page), pages
            )
        )
    print(f"{len(singles) + 2} orchestrations accepted")

    progress = Progress(len(singles) + 2)
    killed = False
    while (done := count_finished(client)) < progress.total:
        progress.show(done)
        worker.check()
        if not killed and done >= progress.total // 2:
            progress.end_line()
            worker.kill()
            print(f"{done} orchestrations were finished, the others go on with the next worker")
            worker.start()
            killed = True
        time.sleep(0.05)
    progress.show(done)
    progress.end_line()
    if not killed:
        sys.exit("everything was finished before the worker could be killed: raise HASH_ROUNDS")

    return Results(
        [client.wait_for_orchestration_completion(single).get_output() for single in singles],
        client.wait_for_orchestration_completion(total).get_output(),
        client.wait_for_orchestration_completion(words).get_output(),
    )


def plain_loop(pages: list[str]) -> Results:
    """Do the same work without any orchestration."""
    words = Counter(most_common_word(page) for page in pages)
    return Results(
        [Page(page, digest(page), count_words(page)) for page in pages],
        digest_of([quick_digest(page) for page in pages]),
        dict(words.most_common(5)),
    )


def main() -> int:
    folder = Path(tempfile.mkdtemp(prefix="durableflow-"))
    pages = cut_into_pages(folder)
    task_hub = f"sqlite:///{folder / 'hub.db'}"
    print(f"{len(pages)} pages of the files in {REPOSITORY}")
    print(f"task hub {task_hub}")

    worker = Worker(task_hub, folder)
    try:
        with app.client(task_hub=task_hub) as client:
            results = run_through_a_kill(client, worker, pages)
    finally:
        worker.stop()

    print(f"{sum(page.words for page in results.pages):,} words, digest {results.digest[:16]}…")
    print(f"favourite words: {' '.join(results.favourites)}")
    if results != plain_loop(pages):
        print(f"WRONG: a plain loop gives other results; everything is kept in {folder}")
        return 1
    print("RIGHT: a plain loop over the same files gives the same results")
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    os.environ.pop("DURABLEFLOW_TASK_HUB", None)  # this program has a hub of its own
    sys.exit(main())
