"""Work that kills its process is found and put aside; work that runs beside it is not."""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from durableflow.engine.engine import Engine
from tests.engine.conftest import OpenEngine
from tests.engine.driver import (
    COMPLETED,
    HOUR,
    RUNNING,
    Activity,
    Client,
    LoopTime,
    ManualClock,
    Worker,
    crashed,
    only,
    settle,
)

ROOT = Path(__file__).parents[2]
CRASHES = 5
MEGABYTES_17 = 17 * 1024 * 1024

Crash = Callable[[Engine], Awaitable[Engine]]


@pytest.fixture
def crash(file: Path, tmp_path: Path, opened: OpenEngine) -> Crash:
    """``await crash(engine)`` opens what the death of this engine's process would leave."""
    files: dict[Engine, Path] = {}
    numbers = itertools.count()

    async def now(engine: Engine) -> Engine:
        left = crashed(files.get(engine, file), tmp_path / f"crash {next(numbers)}")
        again = await opened(left)
        files[again] = left
        return again

    return now


# Real processes


async def runs_until_it_survives(file: Path) -> tuple[int, dict[str, str]]:
    """Start the killer until it ends by itself; count its deaths."""
    words = [sys.executable, "-m", "tests.engine.killer", str(file)]
    for deaths in range(20):
        outcome = await asyncio.to_thread(
            subprocess.run, words, cwd=ROOT, capture_output=True, text=True, timeout=40
        )
        if outcome.returncode == 0:
            return deaths, json.loads(outcome.stdout)
        assert outcome.returncode == -signal.SIGKILL, outcome.stderr
    raise AssertionError("the killer was never put aside")


@pytest.mark.e2e
@pytest.mark.parametrize("deadly", ["deadly activity", "deadly turn"])
async def test_what_kills_its_process_is_put_aside_and_innocents_are_not(
    opened: OpenEngine, file: Path, deadly: str
) -> None:
    engine = await opened()
    for instance_id in ("one", "two", deadly, "three", "four"):
        await Client(engine).start(id=instance_id)
    await engine.close()

    deaths, left = await runs_until_it_survives(file)
    engine = await opened()
    state = await Client(engine).state(deadly)

    assert list(left) == [deadly]
    assert "quarantine" in left[deadly]
    assert "quarantine" in state.failureDetails.errorMessage
    assert CRASHES <= deaths <= 2 * CRASHES
    async with Worker(engine) as worker:
        await settle(engine)
        assert worker.waiting == []
        await Client(engine).resume(deadly)
        if deadly == "deadly activity":
            await (await worker.activity("deadly")).complete()
        await (await worker.turn(deadly)).finish()
    assert await Client(engine).status(deadly) == COMPLETED


# One engine after another, each on what the one before left behind


async def out(engine: Engine, client: Client, *activities: str, id: str = "a") -> None:
    """Start an instance that waits for activities."""
    async with Worker(engine, "starter", filters=only("order")) as worker:
        await client.start(id=id)
        await (await worker.turn(id)).call(*activities)


async def written(engine: Engine, loop_time: LoopTime) -> None:
    """Let the records of what was handed out, which nobody waits for, reach the disk."""
    await loop_time.advance(0.1)
    await settle(engine)


async def quarantined(
    engine: Engine, crash: Crash, loop_time: LoopTime, *activities: str
) -> Engine:
    """Have the instance "a" wait for activities of which the first kills its process."""
    await out(engine, Client(engine), *activities)
    for death in range(CRASHES + 1):
        async with Worker(engine, filters=only(activities=activities[:1])) as worker:
            await worker.activity(activities[0])
            if death == 0:
                await written(engine, loop_time)
            engine = await crash(engine)
    return engine


async def test_after_five_deaths_alone_an_activity_is_not_handed_out(
    engine: Engine, crash: Crash, loop_time: LoopTime
) -> None:
    engine = await quarantined(engine, crash, loop_time, "charge")

    state = await Client(engine).state("a")
    async with Worker(engine) as worker:
        await settle(engine)

        assert worker.waiting == []
    assert state.orchestrationStatus == RUNNING
    assert "charge" in state.failureDetails.errorMessage
    assert "quarantine" in state.failureDetails.errorType


async def test_four_deaths_are_not_enough(
    engine: Engine, crash: Crash, loop_time: LoopTime
) -> None:
    await out(engine, Client(engine), "charge")
    async with Worker(engine) as worker:
        await worker.activity()
        await written(engine, loop_time)
        engine = await crash(engine)
    for _ in range(CRASHES - 1):
        async with Worker(engine) as worker:
            await worker.activity()
            engine = await crash(engine)
    async with Worker(engine) as worker:
        await (await worker.activity()).complete()
        await (await worker.turn()).finish()

    assert await Client(engine).status("a") == COMPLETED


async def test_a_quarantine_outlasts_a_clean_end_and_ends_with_a_resume(
    engine: Engine, crash: Crash, loop_time: LoopTime
) -> None:
    engine = await quarantined(engine, crash, loop_time, "charge")
    path = Path(engine.description.removeprefix("sqlite:///"))
    await engine.close()
    engine = Engine(path)
    await engine.open()
    async with Worker(engine) as worker:
        await settle(engine)
        held = worker.waiting
        shown = await Client(engine).state("a")

        await Client(engine).resume("a")
        activity = await worker.activity("charge")
        after = await Client(engine).state("a")
        await settle(engine)
        left = await crash_of(path)
        await activity.complete()
        await (await worker.turn()).finish()
    await engine.close()

    assert held == []
    assert "quarantine" in shown.failureDetails.errorType
    assert not after.HasField("failureDetails")
    assert not (await Client(left).state("a")).HasField("failureDetails")
    async with Worker(left) as worker:
        await worker.activity("charge")
    await left.close()


async def crash_of(path: Path) -> Engine:
    engine = Engine(crashed(path, path.parent / "after the resume"))
    await engine.open()
    return engine


async def survives_beside_nothing_old(engine: Engine, crash: Crash) -> bool:
    """Whether a new instance, which may get a freed place, has nothing to do with what was there."""
    engine = await crash(engine)
    await Client(engine).start(id="innocent")
    async with Worker(engine) as worker:
        await worker.turn("innocent")
        engine = await crash(engine)
    return not (await Client(engine).state("innocent")).HasField("failureDetails")


async def test_the_rest_of_an_instance_goes_on_beside_its_quarantined_activity(
    engine: Engine, crash: Crash, loop_time: LoopTime
) -> None:
    engine = await quarantined(engine, crash, loop_time, "charge", "pack")
    client = Client(engine)
    async with Worker(engine) as worker:
        await (await worker.activity("pack")).complete()
        await (await worker.turn()).complete()
        shown = await client.state("a")
        await client.raise_event("a", "go")
        await (await worker.turn()).finish()

    assert "quarantine" in shown.failureDetails.errorType
    assert await client.status("a") == COMPLETED


@pytest.mark.parametrize("end", ["terminate and purge", "replace"])
async def test_a_quarantine_ends_with_its_instance(
    engine: Engine, crash: Crash, loop_time: LoopTime, end: str
) -> None:
    """Nothing of it falls on whatever gets the freed place after a restart."""
    engine = await quarantined(engine, crash, loop_time, "charge")
    client = Client(engine)
    if end == "replace":
        await client.start(id="a", replace=[RUNNING])
        async with Worker(engine) as worker:
            await (await worker.turn()).finish()
        await client.purge("a")
    else:
        await client.terminate("a")
        await client.purge("a")

    engine = await crash(engine)
    await out(engine, Client(engine), "charge", id="innocent")
    async with Worker(engine) as worker:
        await (await worker.activity("charge")).complete()
        await (await worker.turn("innocent")).finish()

    assert not (await Client(engine).state("innocent")).HasField("failureDetails")


async def test_a_suspicion_ends_also_on_disk_for_an_instance_that_left_memory(
    engine: Engine, crash: Crash, loop_time: LoopTime, clock: ManualClock
) -> None:
    """Nothing of it falls on whatever gets the freed place after a restart."""
    large = "x" * MEGABYTES_17
    await Client(engine).start(id="pushes others out", input=large, at=clock.now() + HOUR)
    await Client(engine).start(id="a")
    for death in range(CRASHES):
        async with Worker(engine) as worker:
            await worker.turn("a")
            if death == 0:
                await written(engine, loop_time)
            elif death == CRASHES - 1:
                await Client(engine).suspend("a")
            engine = await crash(engine)
    client = Client(engine)
    await client.state("pushes others out")
    async with Worker(engine):
        await settle(engine)  # it is found to have nothing to do, so it is no suspect any more
    await client.terminate("a")
    await client.purge("a")

    assert await survives_beside_nothing_old(engine, crash)


async def test_deaths_of_the_engine_while_nothing_runs_never_count(
    engine: Engine, crash: Crash, loop_time: LoopTime
) -> None:
    await out(engine, Client(engine), "charge")
    async with Worker(engine) as worker:
        await worker.activity()
        await written(engine, loop_time)
        engine = await crash(engine)
    for _ in range(2 * CRASHES):
        await Client(engine).raise_event("a", "go")
        engine = await crash(engine)

    async with Worker(engine) as worker:
        await worker.activity("charge")
    assert not (await Client(engine).state("a")).HasField("failureDetails")


async def test_deaths_beside_other_work_never_count(
    engine: Engine, crash: Crash, loop_time: LoopTime
) -> None:
    """A worker that keeps a long activity while others come and its process dies."""
    await out(engine, Client(engine), "long", "short")
    for _ in range(2 * CRASHES):
        async with Worker(engine) as worker:
            await worker.activity("long")
            await loop_time.advance(2.1)
            await worker.activity("short")
            await written(engine, loop_time)
            engine = await crash(engine)

    assert not (await Client(engine).state("a")).HasField("failureDetails")
    async with Worker(engine) as worker:
        await worker.activity("long")
        await loop_time.advance(2.1)
        await worker.activity("short")


async def held_alone(engine: Engine, crash: Crash, loop_time: LoopTime) -> Engine:
    """An engine on which the activity of "a" is a suspect."""
    await out(engine, Client(engine), "charge")
    async with Worker(engine) as worker:
        await worker.activity()
        await written(engine, loop_time)
        return await crash(engine)


async def test_giving_back_never_counts(engine: Engine, crash: Crash, loop_time: LoopTime) -> None:
    engine = await held_alone(engine, crash, loop_time)
    async with Worker(engine) as worker:
        for _ in range(2 * CRASHES):
            await (await worker.activity()).abandon()
            await loop_time.advance(301)
        engine = await crash(engine)
    async with Worker(engine) as worker:
        await worker.activity("charge")


async def test_a_clean_end_never_counts(engine: Engine, crash: Crash, loop_time: LoopTime) -> None:
    engine = await held_alone(engine, crash, loop_time)
    path = Path(engine.description.removeprefix("sqlite:///"))
    for _ in range(2 * CRASHES):
        async with Worker(engine) as worker:
            await worker.activity("charge")
            await engine.close()
        engine = Engine(path)
        await engine.open()
    async with Worker(engine) as worker:
        await worker.activity("charge")
    await engine.close()


async def test_a_stream_that_is_lost_and_comes_back_never_counts(
    engine: Engine, crash: Crash, loop_time: LoopTime
) -> None:
    engine = await held_alone(engine, crash, loop_time)
    async with Worker(engine, "same") as worker:
        activity = await worker.activity("charge")
    for _ in range(2 * CRASHES):
        async with Worker(engine, "same"):
            await loop_time.advance(1.0)
        await loop_time.advance(5.0)
    async with Worker(engine, "same") as worker:
        await activity.complete()
        await worker.turn()

    assert not (await Client(engine).state("a")).HasField("failureDetails")


async def test_a_turn_that_came_back_from_running_alone_is_no_suspect_any_more(
    engine: Engine, crash: Crash, loop_time: LoopTime
) -> None:
    """A crash much later, with an event waiting, must not count as a death by that turn."""
    await Client(engine).start(id="a")
    async with Worker(engine) as worker:
        await worker.turn()
        await written(engine, loop_time)
        engine = await crash(engine)
    for _ in range(2 * CRASHES):
        await loop_time.advance(60)  # whoever was careful after the crash is not any more
        async with Worker(engine) as worker:
            await (await worker.turn()).complete()
        await Client(engine).raise_event("a", "go")
        await written(engine, loop_time)
        engine = await crash(engine)

    assert not (await Client(engine).state("a")).HasField("failureDetails")


async def test_workers_in_other_processes_that_die_alone_count(
    engine: Engine, client: Client, loop_time: LoopTime
) -> None:
    await out(engine, client, "charge")
    for n in range(CRASHES + 1):
        async with Worker(engine, f"dies {n}") as worker:
            await worker.activity("charge")
        await loop_time.advance(10.5)

    state = await client.state("a")
    async with Worker(engine, "last") as worker:
        await settle(engine)

        assert worker.waiting == []
    assert "charge" in state.failureDetails.errorMessage


async def workers_that_die(engine: Engine, loop_time: LoopTime, *, deaths: int) -> None:
    """Have worker processes die, one after another, as soon as they get the turn of "a"."""
    for n in range(deaths):
        async with Worker(engine, f"dies {n}") as worker:
            await worker.turn("a")
        await loop_time.advance(10.5)


async def test_a_turn_that_kills_workers_in_other_processes_is_put_aside(
    engine: Engine, client: Client, loop_time: LoopTime
) -> None:
    await client.start(id="a")
    await workers_that_die(engine, loop_time, deaths=CRASHES + 1)

    shown = await client.state("a")
    async with Worker(engine, "last") as worker:
        await settle(engine)
        held = worker.waiting
        await client.resume("a")
        await (await worker.turn("a")).finish()

    assert "quarantine" in shown.failureDetails.errorType
    assert held == []
    assert await client.status("a") == COMPLETED


async def test_deaths_of_workers_and_of_the_engine_add_up(
    engine: Engine, client: Client, crash: Crash, loop_time: LoopTime
) -> None:
    await client.start(id="a")
    await workers_that_die(engine, loop_time, deaths=CRASHES)
    async with Worker(engine) as worker:
        await worker.turn("a")
        engine = await crash(engine)

    assert "quarantine" in (await Client(engine).state("a")).failureDetails.errorType


async def test_four_workers_that_died_alone_are_not_enough(
    engine: Engine, client: Client, loop_time: LoopTime
) -> None:
    await client.start(id="a")
    await workers_that_die(engine, loop_time, deaths=CRASHES)
    async with Worker(engine, "last") as worker:
        await (await worker.turn("a")).finish()

    assert await client.status("a") == COMPLETED


async def test_a_turn_that_took_two_workers_down_is_not_given_to_a_third_at_once(
    engine: Engine, client: Client, loop_time: LoopTime
) -> None:
    await client.start(id="a")
    for name in ("first", "second"):
        async with Worker(engine, name) as worker:
            await worker.turn("a")
    async with Worker(engine, "third") as worker:
        await settle(engine)
        at_once = worker.waiting
        await loop_time.advance(10.5)
        await (await worker.turn("a")).finish()

    assert at_once == []
    assert await client.status("a") == COMPLETED


async def test_a_turn_whose_second_worker_comes_back_is_given_out_at_once(
    engine: Engine, client: Client
) -> None:
    await client.start(id="a")
    for name in ("first", "second"):
        async with Worker(engine, name) as worker:
            await worker.turn("a")
    async with Worker(engine, "second") as worker:
        await (await worker.turn("a")).finish()

    assert await client.status("a") == COMPLETED


async def test_a_turn_whose_worker_comes_back_again_and_again_is_never_put_aside(
    engine: Engine, client: Client, crash: Crash, loop_time: LoopTime
) -> None:
    await client.start(id="a")
    async with Worker(engine) as worker:
        await worker.turn("a")
        await written(engine, loop_time)
        engine = await crash(engine)
    for _ in range(2 * CRASHES):
        async with Worker(engine, "same") as worker:
            await worker.turn("a")
        await loop_time.advance(5.0)
    async with Worker(engine, "same") as worker:
        await (await worker.turn("a")).finish()

    assert await Client(engine).status("a") == COMPLETED


async def test_a_reconnect_that_comes_before_the_loss_is_noticed_never_counts(
    engine: Engine, client: Client, crash: Crash, loop_time: LoopTime
) -> None:
    await client.start(id="a")
    async with Worker(engine) as worker:
        await worker.turn("a")
        await written(engine, loop_time)
        engine = await crash(engine)
    worker = await Worker(engine, "same").__aenter__()
    for _ in range(2 * CRASHES):
        await worker.turn("a")
        newer = await Worker(engine, "same").__aenter__()
        await worker.leave()
        worker = newer
    await (await worker.turn("a")).finish()
    await worker.leave()

    assert await Client(engine).status("a") == COMPLETED


async def test_only_the_turn_that_kills_workers_is_put_aside_of_those_that_ran_beside_it(
    engine: Engine, client: Client, loop_time: LoopTime
) -> None:
    ids = ["one", "two", "deadly", "three", "four"]
    for instance_id in ids:
        await client.start(id=instance_id)
    shown = ""
    deaths = 0
    while not shown:
        async with Worker(engine, f"dies {deaths}") as worker:
            while (turn := await worker.turn()).id != "deadly":
                await turn.complete()
        deaths += 1
        await loop_time.advance(10.5)
        shown = (await client.state("deadly")).failureDetails.errorType

    assert "quarantine" in shown
    assert CRASHES <= deaths <= 2 * CRASHES
    async with Worker(engine, "last") as worker:
        for instance_id in ids:
            await client.raise_event(instance_id, "go")
            if instance_id != "deadly":
                await (await worker.turn(instance_id)).finish()
                assert await client.completion(instance_id) == COMPLETED
        assert worker.waiting == []


async def test_a_turn_that_another_worker_has_completed_is_no_suspect(
    engine: Engine, client: Client, loop_time: LoopTime
) -> None:
    await client.start(id="long")
    await client.start(id="a")
    async with Worker(engine, "lives", turns=1) as lives:
        long = await lives.turn("long")
        async with Worker(engine, "dies") as dies:
            await dies.turn("a")
        await long.complete()
        await (await lives.turn("a")).complete()
        await client.raise_event("long", "go")
        await lives.turn("long")
        await loop_time.advance(10.5)
        async with Worker(engine, "other") as other:
            await client.raise_event("a", "go")

            await other.turn("a")  # at once, although a suspect would not run beside the long one


async def test_a_suspect_turn_whose_instance_ends_meanwhile_is_forgotten(
    engine: Engine, client: Client, crash: Crash, loop_time: LoopTime
) -> None:
    await client.start(id="a")
    await workers_that_die(engine, loop_time, deaths=CRASHES)
    async with Worker(engine, "dies alone") as worker:
        await worker.turn("a")
    await client.terminate("a")
    await client.purge("a")
    await loop_time.advance(10.5)

    assert await survives_beside_nothing_old(engine, crash)


# Suspects do not stand in the way


async def test_the_activity_of_a_dead_worker_comes_to_one_that_was_busy(
    engine: Engine, client: Client, loop_time: LoopTime
) -> None:
    await out(engine, client, "charge", "charge")
    async with Worker(engine, "busy", filters=only(activities=["charge"]), activities=1) as busy:
        mine = await busy.activity()
        async with Worker(engine, "dead", filters=only(activities=["charge"])) as dead:
            lost = await dead.activity()
        for _ in range(10):
            await loop_time.advance(2.1)
        await mine.complete()

        again = await busy.activity()

    assert again.request == lost.request


async def test_the_activities_of_workers_that_die_one_after_another_all_come_back(
    engine: Engine, client: Client, loop_time: LoopTime
) -> None:
    await out(engine, client, *["charge"] * 6)
    async with Worker(engine, "survivor", filters=only("order")) as survivor:
        for n in range(3):
            async with Worker(engine, f"dead {n}", activities=2) as dead:
                await dead.activity()
                await dead.activity()
        async with Worker(engine, "last") as last:
            for _ in range(8):
                await loop_time.advance(2.1)
            activities = [await last.activity() for _ in range(6)]
            for activity in activities:
                await activity.complete()
            await settle(engine)

    assert survivor.waiting + last.waiting != []


async def test_a_crash_amid_many_long_activities_does_not_hold_up_the_hub(
    engine: Engine, crash: Crash, loop_time: LoopTime
) -> None:
    """Thirty activities that take their time: all are out again, and others run, within 15 s."""
    await out(engine, Client(engine), *["long"] * 30)
    async with Worker(engine) as worker:
        for _ in range(30):
            await worker.activity()
        await written(engine, loop_time)
        engine = await crash(engine)

    async with Worker(engine) as worker:
        waited = 0.0
        held: list[Activity] = []
        while len(held) < 30 and waited < 15:
            await loop_time.advance(0.5)
            waited += 0.5
            await asyncio.sleep(0.005)
            held += [await worker.activity() for _ in list(worker.waiting)]

        assert len(held) == 30


async def test_a_killer_behind_long_innocents_is_found(
    engine: Engine, crash: Crash, loop_time: LoopTime
) -> None:
    """It dies beside them at first; in the end it is seen to do so alone."""
    await out(engine, Client(engine), "long", "long", "deadly", "long")
    deaths = 0
    shown = ""
    while "deadly" not in shown and deaths < 20:
        async with Worker(engine) as worker:
            dead = False
            for _ in range(40):
                await loop_time.advance(0.5)
                await asyncio.sleep(0.005)
                if "deadly" in worker.waiting:
                    dead = True
                    break
            if not dead:
                break
            engine = await crash(engine)
            deaths += 1
        shown = (await Client(engine).state("a")).failureDetails.errorMessage

    assert "deadly" in shown
    assert deaths <= 12


async def test_a_suspect_goes_to_those_of_any_version_once_those_of_its_own_are_gone(
    engine: Engine, client: Client, loop_time: LoopTime
) -> None:
    exact = only("order", versions=["1"])
    await client.start(id="a", version="1")
    for name in ("one that dies", "another that dies"):
        async with Worker(engine, name, filters=exact) as worker:
            await worker.turn("a")
    async with Worker(engine, "any", filters=only("order")) as worker:
        async with Worker(engine, "leaves", filters=exact):
            await loop_time.advance(5)
        for _ in range(30):
            await loop_time.advance(1)

        turn = await worker.turn("a")

    assert turn.id == "a"
