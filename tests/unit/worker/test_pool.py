from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
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
        pool.submit(job)

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

    for job in (block, block, block):
        pool.submit(job)
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

    pool.submit(job)
    pool.submit(job)
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
