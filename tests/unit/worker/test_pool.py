from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from queue import SimpleQueue

import pytest

from durableflow.worker.pool import ActivityPool

Job = Callable[[], None]
SECONDS = 20
ENDED: SimpleQueue[Job] = SimpleQueue()


@pytest.fixture
def pool() -> Iterator[ActivityPool[Job]]:
    made: ActivityPool[Job] = ActivityPool(most=3, run=lambda job: job(), ended=ENDED.put)
    yield made
    made.close()


def test_every_job_runs_once(pool: ActivityPool[Job]) -> None:
    seen: SimpleQueue[int] = SimpleQueue()

    for number in range(500):
        pool.submit(lambda number=number: seen.put(number))

    assert sorted(seen.get(timeout=SECONDS) for _ in range(500)) == list(range(500))
    assert seen.empty()


def test_a_job_that_blocks_does_not_hold_up_the_next(pool: ActivityPool[Job]) -> None:
    release, passed = threading.Event(), threading.Event()

    pool.submit(lambda: release.wait(SECONDS) and None)
    pool.submit(lambda: release.wait(SECONDS) and None)
    pool.submit(passed.set)

    assert passed.wait(SECONDS)
    release.set()


def test_a_batch_that_blocks_uses_all_threads_and_no_more(pool: ActivityPool[Job]) -> None:
    running: SimpleQueue[int] = SimpleQueue()
    release = threading.Event()

    def job() -> None:
        running.put(threading.get_ident())
        release.wait(SECONDS)

    for _ in range(5):
        pool.submit(partial(job))

    first = {running.get(timeout=SECONDS) for _ in range(3)}
    assert len(first) == 3
    assert running.empty()
    release.set()
    assert {running.get(timeout=SECONDS) for _ in range(2)} <= first


def test_jobs_that_wait_can_be_taken_back(pool: ActivityPool[Job]) -> None:
    started, release = threading.Barrier(4), threading.Event()

    def block() -> None:
        started.wait(SECONDS)
        release.wait(SECONDS)

    def waiting() -> None:
        raise AssertionError("was taken back")

    for _ in range(3):
        pool.submit(partial(block))
    started.wait(SECONDS)
    pool.submit(waiting)

    assert list(pool.drop_waiting()) == [waiting]
    release.set()


def test_threads_end_when_the_pool_closes() -> None:
    pool: ActivityPool[Job] = ActivityPool(most=3, run=lambda job: job(), ended=ENDED.put)
    threads: SimpleQueue[threading.Thread] = SimpleQueue()
    together = threading.Barrier(2)

    def job() -> None:
        threads.put(threading.current_thread())
        together.wait(SECONDS)

    pool.submit(partial(job))
    pool.submit(partial(job))
    both = [threads.get(timeout=SECONDS) for _ in range(2)]
    pool.close()

    for thread in both:
        thread.join(SECONDS)
        assert not thread.is_alive()


def test_the_end_of_each_job_is_told_before_the_next_one_runs() -> None:
    told: SimpleQueue[Job] = SimpleQueue()
    pool: ActivityPool[Job] = ActivityPool(most=1, run=lambda job: job(), ended=told.put)
    began, release = threading.Event(), threading.Event()

    def first() -> None:
        began.set()

    def second() -> None:
        release.wait(SECONDS)

    pool.submit(first)
    assert began.wait(SECONDS)
    pool.submit(second)

    assert told.get(timeout=SECONDS) is first
    assert told.empty()
    release.set()
    assert told.get(timeout=SECONDS) is second
    pool.close()


class Blocker:
    """A job that goes on until it is released."""

    def __init__(self) -> None:
        self.running, self.released = threading.Event(), threading.Event()
        self.thread: threading.Thread | None = None

    def __call__(self) -> None:
        self.thread = threading.current_thread()
        self.running.set()
        self.released.wait(SECONDS)


def test_a_thread_that_is_written_off_makes_room_and_ends_with_its_job() -> None:
    told: SimpleQueue[Job] = SimpleQueue()
    pool: ActivityPool[Job] = ActivityPool(most=1, run=lambda job: job(), ended=told.put)
    hanging, waiting = Blocker(), Blocker()
    pool.submit(hanging)
    assert hanging.running.wait(SECONDS)
    pool.submit(waiting)

    assert pool.write_off(hanging)

    assert waiting.running.wait(SECONDS)
    assert hanging.thread is not None
    assert waiting.thread is not hanging.thread
    hanging.released.set()
    hanging.thread.join(SECONDS)
    assert not hanging.thread.is_alive()
    waiting.released.set()
    assert told.get(timeout=SECONDS) is waiting
    pool.close()


def test_no_more_threads_are_written_off_than_may_run() -> None:
    pool: ActivityPool[Job] = ActivityPool(most=1, run=lambda job: job(), ended=ENDED.put)
    first, second = Blocker(), Blocker()
    pool.submit(first)
    assert first.running.wait(SECONDS)
    pool.write_off(first)
    pool.submit(second)
    assert second.running.wait(SECONDS)

    assert not pool.write_off(second)

    first.released.set()
    second.released.set()
    pool.close()


def test_a_job_that_has_ended_has_no_thread_to_write_off(pool: ActivityPool[Job]) -> None:
    ran = threading.Event()
    pool.submit(ran.set)
    assert ran.wait(SECONDS)
    blocker = Blocker()
    pool.submit(blocker)
    assert blocker.running.wait(SECONDS)

    assert pool.write_off(ran.set)

    blocker.released.set()
