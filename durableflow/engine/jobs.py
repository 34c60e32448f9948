"""A thread that runs blocking jobs one after another and answers the hub loop in batches."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

Job = tuple[asyncio.Future[Any], Callable[[], Any]]
Answer = tuple[asyncio.Future[Any], Any, BaseException | None]

_BATCH = 64


class JobThread:
    """Runs jobs in the order of their submission.  Used from the hub loop only."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue: SimpleQueue[Job | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[T]:
        """Have a job run; its result or exception arrives in the future."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._queue.put((future, lambda: job(*args, **kwargs)))
        return future

    async def stop(self) -> None:
        """Finish what was submitted, then end the thread."""
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        while True:
            job = self._queue.get()
            answers: list[Answer] = []
            while job is not None:
                answers.append(_answer(job))
                if len(answers) == _BATCH:
                    break
                try:
                    job = self._queue.get_nowait()
                except Empty:
                    break
            if answers:
                self._loop.call_soon_threadsafe(_deliver, answers)
            if job is None:
                return


def _answer(job: Job) -> Answer:
    future, call = job
    try:
        return future, call(), None
    except BaseException as error:  # noqa: BLE001 - whatever it is belongs to who asked
        return future, None, error


def _deliver(answers: list[Answer]) -> None:
    for future, result, error in answers:
        if future.cancelled():
            continue
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)
