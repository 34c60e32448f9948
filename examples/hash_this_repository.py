"""Hashes and word counts of this repository's own files, through a killed worker.

The files are cut into pages, so that there are a few hundred.  Every page gets an orchestration of
its own (a chain of activities), one more fans out over all pages, another over their words.
Half-way the worker process is killed with SIGKILL and started again.  At the end everything is
compared with a plain loop over the same files.

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
from pathlib import Path

from attrs import frozen

from durableflow import App, Client, InstanceId, Orchestration, OrchestrationContext, when_all

REPOSITORY = Path(__file__).resolve().parent.parent
LINES_PER_PAGE = 60
MOST_PAGES = 500
TEXT_SUFFIXES = {".cfg", ".md", ".proto", ".py", ".pyi", ".sql", ".toml", ".tsv", ".txt", ".yml"}
SLOW_HASH_ROUNDS = 20_000  # so that there is time to kill somebody

app = App("hash_this_repository")


@frozen
class Page:
    path: str
    digest: str
    words: int


@app.activity
def digest(path: str) -> str:
    return hashlib.pbkdf2_hmac("sha256", Path(path).read_bytes(), b"", SLOW_HASH_ROUNDS).hex()


@app.activity
def count_words(path: str) -> int:
    return len(Path(path).read_text().split())


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
    page_digest = yield ctx.call_activity(digest, input=path)
    words = yield ctx.call_activity(count_words, input=path)
    return Page(path, page_digest, words)


@app.orchestrator
async def describe_all(ctx: OrchestrationContext, paths: list[str]) -> str:
    """A fan-out over all pages, and one digest of all digests."""
    digests = await when_all([ctx.call_activity(digest, input=path) for path in paths])
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
        self.log = (folder / "worker.log").open("ab")
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "durableflow", "run", f"{Path(__file__).stem}:app"]
        self.process = subprocess.Popen(
            [*command, "--task-hub", self.task_hub],
            cwd=Path(__file__).parent,
            stdout=self.log,
            stderr=self.log,
        )
        print(f"worker {self.process.pid} started")

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        print(f"worker {self.process.pid} killed: exit status {self.process.wait()}")

    def stop(self) -> None:
        self.process.terminate()
        print(f"worker {self.process.pid} stopped: exit status {self.process.wait()}")
        self.log.close()


class Progress:
    """One line on a terminal that is written over, or a line now and then elsewhere."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.started = time.monotonic()
        self.shown = -1

    def show(self, done: int) -> None:
        tenths = done * 10 // self.total
        if sys.stdout.isatty():
            bar = ("#" * (done * 40 // self.total)).ljust(40, ".")
            print(f"\r[{bar}] {done}/{self.total} {self.seconds():5.1f} s", end="", flush=True)
        elif tenths != self.shown:
            print(f"{done} of {self.total} orchestrations, {self.seconds():.1f} s", flush=True)
        self.shown = tenths

    def end_line(self) -> None:
        if sys.stdout.isatty():
            print()

    def seconds(self) -> float:
        return time.monotonic() - self.started


def run_through_a_kill(
    client: Client, worker: Worker, pages: list[str]
) -> tuple[list[Page], str, dict[str, int]]:
    """Start everything, kill the worker half-way, start it again, and collect the results."""
    total: InstanceId[str] = client.schedule_new_orchestration(describe_all, input=pages)
    favourites = client.schedule_new_orchestration(favourite_words, input=pages)
    singles = [client.schedule_new_orchestration(describe_page, input=page) for page in pages]
    print(f"{len(singles) + 2} orchestrations accepted")

    progress = Progress(len(singles) + 2)
    waiting: list[InstanceId[str] | InstanceId[dict[str, int]] | InstanceId[Page]]
    waiting = [*singles, favourites, total]
    killed = False
    for done, instance_id in enumerate(waiting):
        progress.show(done)
        if not killed and done >= progress.total // 2:
            progress.end_line()
            worker.kill()
            worker.start()
            killed = True
        client.wait_for_orchestration_completion(instance_id, timeout=300)
    progress.show(progress.total)
    progress.end_line()

    return (
        [client.wait_for_orchestration_completion(single).get_output() for single in singles],
        client.wait_for_orchestration_completion(total).get_output(),
        client.wait_for_orchestration_completion(favourites).get_output(),
    )


def plain_loop(pages: list[str]) -> tuple[list[Page], str, dict[str, int]]:
    """The same work without any orchestration."""
    described = [Page(page, digest(page), count_words(page)) for page in pages]
    favourites = Counter(most_common_word(page) for page in pages)
    return (
        described,
        digest_of([page.digest for page in described]),
        dict(favourites.most_common(5)),
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

    described, total, favourites = results
    print(f"{sum(page.words for page in described):,} words, digest of all pages {total[:16]}…")
    print(f"favourite words: {', '.join(favourites)}")
    if results != plain_loop(pages):
        print(f"WRONG: a plain loop gives other results; everything is kept in {folder}")
        return 1
    print("RIGHT: a plain loop over the same files gives the same results")
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    os.environ.pop("DURABLEFLOW_TASK_HUB", None)  # this program has a hub of its own
    sys.exit(main())
