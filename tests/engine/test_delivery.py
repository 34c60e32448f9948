"""Which worker gets what, and what happens to work that a worker does not finish."""

from __future__ import annotations

import asyncio

import pytest

from durableflow._proto import task_hub_pb2 as pb
from durableflow.engine.engine import Engine
from durableflow.errors import CallError
from durableflow.protocol.actions import continue_as_new
from durableflow.protocol.status import Status
from tests.engine.conftest import OpenEngine
from tests.engine.driver import (
    COMPLETED,
    DEADLINE_SECONDS,
    END,
    HOUR,
    PENDING,
    RUNNING,
    TERMINATED,
    Activity,
    Client,
    LoopTime,
    Turn,
    Worker,
    names,
    only,
    settle,
)

# Filters and versions


async def test_a_filter_takes_the_names_and_versions_that_it_lists(
    engine: Engine, client: Client
) -> None:
    filters = pb.WorkItemFilters(
        orchestrations=[
            pb.OrchestrationFilter(name="any"),
            pb.OrchestrationFilter(name="exact", versions=["1", "1.0"]),
            pb.OrchestrationFilter(name="bare", versions=[""]),
        ]
    )
    wanted = {("any", None), ("any", "7"), ("exact", "1"), ("exact", "1.0"), ("bare", None)}
    unwanted = {("other", None), ("exact", None), ("exact", "1.00"), ("bare", "1"), ("Any", None)}
    async with Worker(engine, filters=filters) as worker:
        for name, version in sorted(wanted | unwanted, key=str):
            await client.start(name, id=f"{name} {version}", version=version)
        await settle(engine)

        assert set(worker.waiting) == {f"{name} {version}" for name, version in wanted}
    assert await client.status("other None") == PENDING


async def test_a_kind_for_which_the_filters_name_nothing_is_not_delivered(
    engine: Engine, client: Client
) -> None:
    async with (
        Worker(engine, "turns", filters=only("order")) as turns,
        Worker(engine, "activities", filters=only(activities=["charge"])) as activities,
    ):
        await client.start(id="a")
        await (await turns.turn()).call("charge")
        await (await activities.activity("charge")).complete()
        await turns.turn()
        await settle(engine)

        assert (turns.waiting, activities.waiting) == ([], [])


async def test_what_matches_nobody_waits_for_a_worker_that_wants_it(
    engine: Engine, client: Client
) -> None:
    async with Worker(engine, "first", filters=only("order")) as first:
        await client.start(id="a")
        await (await first.turn()).call("charge")
        await client.start("stranger", id="b")
        await settle(engine)
        before = first.waiting, await client.status("b")
        async with Worker(engine, "second", filters=only("stranger", activities=["charge"])) as two:
            await (await two.activity("charge")).complete()
            await two.turn("b")

    assert before == ([], PENDING)


async def test_it_is_logged_once_that_a_version_waits_for_a_worker(
    engine: Engine, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    async with Worker(engine, "one", filters=only("order", versions=["1"])):
        for instance_id in ("a", "b"):
            await client.start(id=instance_id, version="2")
        await settle(engine)
        while_one_is_alone = list(caplog.messages)
        async with Worker(engine, "two", filters=only("order", versions=["2"])) as two:
            await two.turn("a")
            await client.start(id="c", version="2")
            await settle(engine)
            with_both = list(caplog.messages)

    assert while_one_is_alone == [
        "No connected worker runs orchestrator 'order' version '2', so it waits for one that does."
    ]
    assert with_both == while_one_is_alone


async def test_a_version_is_offered_to_those_who_name_it_before_those_who_take_any(
    engine: Engine, client: Client
) -> None:
    async with (
        Worker(engine, "any", filters=only("order", activities=["charge"])) as takes_any,
        Worker(
            engine, "exact", filters=only("order", activities=["charge"], versions=["2"]), turns=1
        ) as exact,
    ):
        for instance_id in ("a", "b"):
            await client.start(id=instance_id, version="2")
        first = await exact.turn()
        await settle(engine)
        while_busy = takes_any.waiting
        await first.complete()
        await exact.turn("b")

    assert while_busy == []
    assert first.id == "a"


async def test_one_who_names_a_version_and_takes_any_too_is_preferred_for_that_version_only(
    engine: Engine, client: Client
) -> None:
    both = pb.WorkItemFilters(
        orchestrations=[
            pb.OrchestrationFilter(name="order", versions=["2"]),
            pb.OrchestrationFilter(name="order"),
        ]
    )
    async with (
        Worker(engine, "old", filters=only("order")) as old,
        Worker(engine, "new", filters=both, turns=1) as new,
    ):
        for instance_id in ("a", "b"):
            await client.start(id=instance_id, version="2")
        await new.turn()
        await settle(engine)
        while_new_is_busy = old.waiting
        await client.start(id="c", version="1")
        await old.turn("c")

    assert while_new_is_busy == []


async def test_ten_seconds_after_the_last_who_named_a_version_left_those_who_take_any_get_it(
    engine: Engine, client: Client, loop_time: LoopTime
) -> None:
    async with Worker(engine, "any", filters=only("order")) as takes_any:
        async with Worker(engine, "exact", filters=only("order", versions=["2"])):
            pass
        await client.start(id="a", version="2")
        await loop_time.advance(9.5)
        await settle(engine)
        within = takes_any.waiting
        await loop_time.advance(1.0)
        turn = await takes_any.turn()

    assert within == []
    assert turn.id == "a"


async def test_one_who_names_the_version_and_returns_in_time_gets_it(
    engine: Engine, client: Client, loop_time: LoopTime
) -> None:
    filters = only("order", versions=["2"])
    async with Worker(engine, "any", filters=only("order")) as takes_any:
        async with Worker(engine, "exact", filters=filters):
            pass
        await client.start(id="a", version="2")
        await loop_time.advance(9.0)
        async with Worker(engine, "exact", filters=filters) as exact:
            await exact.turn("a")
            await loop_time.advance(60.0)
            await settle(engine)

            assert takes_any.waiting == []


async def test_versions_that_nobody_names_go_to_those_who_take_any(
    engine: Engine, client: Client
) -> None:
    async with (
        Worker(engine, "any", filters=only("order")) as takes_any,
        Worker(engine, "exact", filters=only("order", versions=["2"])) as exact,
    ):
        await client.start(id="a", version="3")
        await client.start(id="b")
        await takes_any.turn("a")
        await takes_any.turn("b")
        await settle(engine)

        assert exact.waiting == []


# Limits, spreading, affinity


async def test_a_worker_holds_no_more_items_than_it_asked_for(
    engine: Engine, client: Client
) -> None:
    async with Worker(engine, turns=2, activities=3) as worker:
        for n in range(5):
            await client.start(id=f"{n}")
        await settle(engine)
        turns = [await worker.turn(), await worker.turn()]
        more_turns = worker.waiting
        await turns[0].call(*["charge"] * 5)
        activities = [await worker.activity() for _ in range(3)]
        await settle(engine)
        more_activities = worker.waiting
        await activities[0].complete()
        await activities[1].fail("no")
        await worker.activity()
        await worker.activity()

    assert more_turns == []
    assert more_activities == ["2"]


async def test_one_that_goes_on_for_ever_does_not_keep_the_only_place_from_others(
    engine: Engine, client: Client
) -> None:
    async with Worker(engine, turns=1) as worker:
        await client.start("eternal", id="eternal")
        turn = await worker.turn("eternal")
        await client.start("order", id="a")
        await client.start("invoice", id="b")

        order = [turn.id]
        while len(order) < 6:
            if turn.id == "eternal":
                await turn.complete(continue_as_new(END, "1"))
            else:
                await turn.finish()
            turn = await worker.turn()
            order.append(turn.id)

    assert order == ["eternal", "a", "b", "eternal", "eternal", "eternal"]


async def test_one_that_lets_others_go_first_goes_on_where_another_worker_has_a_place(
    engine: Engine, client: Client
) -> None:
    async with Worker(engine, turns=1, filters=only("order", "eternal")) as takes_all:
        await client.start("eternal", id="eternal")
        turn = await takes_all.turn("eternal")
        await client.start("order", id="order")
        async with Worker(engine, turns=1, filters=only("eternal")) as idle:
            await turn.complete(continue_as_new(END, "1"))

            await takes_all.turn("order")
            await idle.turn("eternal")


async def test_a_turn_is_given_no_more_than_a_message_takes_and_the_rest_in_order(
    engine: Engine, client: Client
) -> None:
    megabyte = "x" * 1_000_000
    await client.start(id="a")
    for number in range(3):
        await client.raise_event("a", f"e{number}", megabyte)
    await client.raise_event("a", "large", megabyte * 5)
    await client.raise_event("a", "last")

    batches = []
    async with Worker(engine) as worker:
        for _ in range(4):
            turn = await worker.turn("a")
            batches.append(names(turn.new))
            assert turn.new[0].HasField("orchestratorStarted")
            await turn.complete()
        await settle(engine)
        waiting = worker.waiting

    assert batches == [["e0", "e1"], ["e2"], ["large"], ["last"]]
    assert waiting == []


async def test_an_abandoned_item_frees_its_place(engine: Engine, client: Client) -> None:
    async with Worker(engine, turns=1, activities=1) as worker:
        await client.start(id="a")
        await client.start(id="b")
        await (await worker.turn("a")).abandon()
        await (await worker.turn("b")).call("charge", "pack")
        await (await worker.activity("charge")).abandon()
        await worker.activity("pack")


async def test_work_is_spread_over_workers(engine: Engine, client: Client) -> None:
    async with (
        Worker(engine, "feeder", filters=only("order")) as feeder,
        Worker(engine, "one", filters=only(activities=["charge"])) as one,
        Worker(engine, "two", filters=only(activities=["charge"])) as two,
    ):
        await client.start(id="a")
        await (await feeder.turn()).call(*["charge"] * 20)
        await settle(engine)

        assert (len(one.waiting), len(two.waiting)) == (10, 10)


async def test_a_busy_worker_gets_less(engine: Engine, client: Client) -> None:
    async with (
        Worker(engine, "feeder", filters=only("order")) as feeder,
        Worker(engine, "busy", filters=only(activities=["charge"])) as busy,
    ):
        await client.start(id="a")
        await (await feeder.turn()).call(*["charge"] * 10)
        for _ in range(10):
            await busy.activity()
        async with Worker(engine, "idle", filters=only(activities=["charge"])) as idle:
            await client.start(id="b")
            await (await feeder.turn()).call(*["charge"] * 6)
            await settle(engine)

            assert (len(busy.waiting), len(idle.waiting)) == (0, 6)


async def test_an_instance_stays_with_the_worker_that_holds_its_session(
    engine: Engine, client: Client
) -> None:
    async with (
        Worker(engine, "one", sessions=True) as one,
        Worker(engine, "two", sessions=True) as two,
    ):
        owners: dict[str, Worker] = {}
        for n in range(6):
            await client.start(id=f"{n}")
        await settle(engine)
        for worker in (one, two):
            for instance_id in list(worker.waiting):
                owners[instance_id] = worker
                await (await worker.turn(instance_id)).complete()
        for _ in range(3):
            for instance_id in owners:
                await client.raise_event(instance_id, "go")
            for instance_id, worker in owners.items():
                await (await worker.turn(instance_id)).complete()

    assert len(set(map(id, owners.values()))) == 2


# Lost streams


async def test_turns_of_a_lost_stream_are_offered_at_once(engine: Engine, client: Client) -> None:
    async with Worker(engine, "lost") as worker:
        await client.start(id="a")
        lost = await worker.turn()

    async with Worker(engine, "other") as other:
        again = await other.turn()
        await lost.finish('"lost"')
        await again.finish('"again"')

    assert (await client.state("a")).output.value == '"again"'


async def one_activity_in(worker: Worker, client: Client, id: str = "a") -> Activity:
    await client.start(id=id)
    await (await worker.turn(id)).call("charge")
    return await worker.activity()


async def test_activities_of_a_lost_stream_are_offered_after_ten_seconds(
    engine: Engine, client: Client, loop_time: LoopTime
) -> None:
    async with Worker(engine, "other", filters=only(activities=["charge"]), activities=1) as other:
        async with Worker(engine, "lost") as worker:
            await client.start(id="a")
            await (await worker.turn()).call("charge", "charge")
            await settle(engine)
            mine = await worker.activity()
            await (await other.activity()).complete()
        await settle(engine)
        await loop_time.advance(9.5)
        await settle(engine)
        within = other.waiting
        await loop_time.advance(1.0)
        again = await other.activity()

    assert within == []
    assert again.request == mine.request
    assert again.token != ""


async def test_a_worker_that_returns_within_ten_seconds_keeps_its_activities(
    engine: Engine, client: Client, loop_time: LoopTime
) -> None:
    async with Worker(engine, "same") as worker:
        activity = await one_activity_in(worker, client)
    await loop_time.advance(9.0)
    async with Worker(engine, "same") as worker, Worker(engine, "other") as other:
        again = await worker.activity()  # for the case that it has never arrived
        await loop_time.advance(HOUR / 1e6)
        await settle(engine)
        more = worker.waiting + other.waiting
        await activity.complete('"done"')
        turn = await either(worker, other)

    assert (again.request, again.token) == (activity.request, activity.token)
    assert more == []
    assert turn.new[1].taskCompleted.result.value == '"done"'


async def either(*workers: Worker) -> Turn:
    """Take the next turn of whichever worker gets it."""
    waiting = [asyncio.ensure_future(worker.turn()) for worker in workers]
    done, rest = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)
    return done.pop().result()


async def test_a_worker_that_reconnects_before_its_old_stream_is_lost_keeps_its_activities(
    engine: Engine, client: Client, loop_time: LoopTime
) -> None:
    async with Worker(engine, "other", filters=only(activities=["charge"])) as other:
        await other.leave()
    async with Worker(engine, "same") as old:
        activity = await one_activity_in(old, client)
        async with Worker(engine, "same") as new:
            await old.leave()
            adopted = await new.activity()
            await loop_time.advance(60.0)
            await settle(engine)
            while_connected = new.waiting
    await loop_time.advance(11.0)
    async with Worker(engine, "third") as third:
        again = await third.activity()

    assert while_connected == []
    assert adopted.token == activity.token
    assert again.request == activity.request


async def test_a_worker_that_is_lost_again_has_ten_seconds_again(
    engine: Engine, client: Client, loop_time: LoopTime
) -> None:
    async with Worker(engine, "same") as worker:
        activity = await one_activity_in(worker, client)
    await loop_time.advance(6.0)
    async with Worker(engine, "same"):
        await loop_time.advance(1.0)
    async with Worker(engine, "other") as other:
        await loop_time.advance(9.0)
        await settle(engine)
        within = other.waiting
        await loop_time.advance(2.0)
        again = await other.activity()

    assert within == []
    assert again.request == activity.request


async def test_what_a_lost_worker_gives_back_itself_runs_once_more_and_no_more(
    engine: Engine, client: Client, loop_time: LoopTime
) -> None:
    async with Worker(engine, "lost") as worker:
        activity = await one_activity_in(worker, client)
    await activity.abandon()
    async with Worker(engine, "other", activities=1) as other:
        await loop_time.advance(1.5)
        again = await other.activity()
        await loop_time.advance(60.0)
        await settle(engine)
        twice = other.waiting
        await again.complete()
        turn = await other.turn()
        await turn.call("next", first_id=2)
        await other.activity("next")

    assert twice == []


async def test_the_first_answer_wins_when_an_activity_was_offered_twice(
    engine: Engine, client: Client, loop_time: LoopTime
) -> None:
    async with Worker(engine, "lost") as worker:
        lost = await one_activity_in(worker, client)
    await loop_time.advance(11.0)
    async with Worker(engine, "other") as other:
        again = await other.activity()
        await lost.complete('"first"')
        await again.complete('"second"')
        turn = await other.turn()
        await turn.complete()
        await settle(engine)

        assert other.waiting == []
    assert [e.taskCompleted.result.value for e in turn.new[1:]] == ['"first"']


async def test_a_lost_worker_gets_back_nothing_that_was_answered_meanwhile(
    engine: Engine, client: Client, loop_time: LoopTime
) -> None:
    async with Worker(engine, "lost") as worker:
        activity = await one_activity_in(worker, client)
    await activity.complete('"late"')
    await loop_time.advance(11.0)

    async with Worker(engine, "other") as other:
        turn = await other.turn()
        await settle(engine)

        assert other.waiting == []
    assert turn.new[1].taskCompleted.result.value == '"late"'


# Giving back


async def test_an_abandoned_turn_comes_back_after_a_growing_delay(
    engine: Engine, client: Client, worker: Worker, loop_time: LoopTime
) -> None:
    await client.start(id="a")
    turn = await worker.turn()
    early = []

    for delay in (1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300):
        await turn.abandon()
        await loop_time.advance(delay - 0.5)
        await settle(engine)
        early += worker.waiting
        await loop_time.advance(1.0)
        turn = await worker.turn()
    await turn.complete()
    await client.raise_event("a", "go")
    await (await worker.turn()).abandon()
    await loop_time.advance(1.5)
    await worker.turn()

    assert early == []


async def test_an_abandoned_activity_comes_back_after_a_growing_delay(
    engine: Engine, client: Client, worker: Worker, loop_time: LoopTime
) -> None:
    activity = await one_activity_in(worker, client)
    early = []

    for delay in (1, 2, 4, 8, 16):
        await activity.abandon()
        await loop_time.advance(delay - 0.5)
        await settle(engine)
        early += worker.waiting
        await loop_time.advance(1.0)
        activity = await worker.activity()
    await activity.complete('"done"')

    assert early == []
    assert (await worker.turn()).new[1].taskCompleted.result.value == '"done"'


async def test_an_activity_given_back_can_still_be_answered(
    engine: Engine, client: Client, worker: Worker, loop_time: LoopTime
) -> None:
    activity = await one_activity_in(worker, client)

    await activity.abandon()
    await activity.complete('"after all"')
    turn = await worker.turn()
    await turn.complete()
    await loop_time.advance(2.0)
    await settle(engine)

    assert turn.new[1].taskCompleted.result.value == '"after all"'
    assert worker.waiting == []


async def test_new_events_do_not_shorten_the_delay_of_what_was_given_back(
    engine: Engine, client: Client, worker: Worker
) -> None:
    await client.start(id="a")
    await (await worker.turn()).abandon()

    await client.raise_event("a", "go")
    await settle(engine)

    assert worker.waiting == []


# Parking


async def test_a_parked_instance_shows_why_and_still_runs(client: Client, worker: Worker) -> None:
    await client.start(id="a")
    await (await worker.turn()).complete()
    await client.raise_event("a", "go")

    await (await worker.turn()).abandon("nondeterminism", "event 7: 'charge' ≠ 'refund'\n100%")

    state = await client.state("a")
    assert state.orchestrationStatus == RUNNING
    assert "nondeterminism" in state.failureDetails.errorType
    assert "event 7: 'charge' ≠ 'refund'\n100%" in state.failureDetails.errorMessage


async def test_parking_ends_with_the_next_turn_that_is_completed(
    engine: Engine, client: Client, worker: Worker, loop_time: LoopTime
) -> None:
    await client.start(id="a")
    await (await worker.turn()).abandon("no-version", "no version 9")
    await loop_time.advance(1.5)

    turn = await worker.turn()
    while_trying = await client.state("a")
    await turn.complete()

    assert while_trying.HasField("failureDetails")
    assert not (await client.state("a")).HasField("failureDetails")


async def test_parking_is_stored_and_a_worker_after_the_restart_gets_the_turn(
    opened: OpenEngine,
) -> None:
    engine = await opened()
    client = Client(engine)
    async with Worker(engine) as worker:
        await client.start(id="a")
        await (await worker.turn()).complete()
        await client.raise_event("a", "go")
        await (await worker.turn()).abandon("nondeterminism", "event 7 differs")
    await engine.close()

    engine = await opened()
    client = Client(engine)
    state = await client.state("a")
    async with Worker(engine, "new") as worker:
        turn = await worker.turn()

    assert "event 7 differs" in state.failureDetails.errorMessage
    assert names(turn.new) == ["go"]


async def test_a_new_worker_wakes_parked_instances(engine: Engine, client: Client) -> None:
    async with Worker(engine, "old", filters=only("order")) as old:
        for n in range(5):
            await client.start(id=f"{n}")
            await (await old.turn()).abandon("no-version", "no version 9")
        await old.leave()
        async with Worker(engine, "new", filters=only("order")) as new:
            woken = {(await new.turn()).id for _ in range(5)}

    assert woken == {f"{n}" for n in range(5)}


async def test_a_worker_with_other_filters_wakes_what_it_parked_itself(
    engine: Engine, client: Client
) -> None:
    async with Worker(engine, "same", filters=only("order")) as worker:
        await client.start(id="a")
        await (await worker.turn()).abandon("nondeterminism", "event 7 differs")
    async with Worker(engine, "same", filters=only("order", "invoice")) as worker:
        await worker.turn("a")


async def test_a_known_worker_and_one_that_does_not_want_them_wake_no_parked_instances(
    engine: Engine, client: Client
) -> None:
    async with Worker(engine, "same", filters=only("order")) as worker:
        await client.start(id="a")
        await (await worker.turn()).abandon("nondeterminism", "event 7 differs")
    async with (
        Worker(engine, "same", filters=only("order")) as same,
        Worker(engine, "stranger", filters=only("invoice")) as stranger,
    ):
        await settle(engine)

        assert (same.waiting, stranger.waiting) == ([], [])


async def test_a_worker_without_a_name_always_wakes_parked_instances(
    engine: Engine, client: Client
) -> None:
    await client.start(id="a")
    for _ in range(3):
        async with Worker(engine, "", filters=only("order")) as worker:
            await settle(engine)
            assert worker.waiting == ["a"]
            await (await worker.turn("a")).abandon("nondeterminism", "event 7 differs")


async def test_workers_that_came_long_ago_are_forgotten(engine: Engine, client: Client) -> None:
    """The engine runs for years, and each start of a worker has a name of its own."""
    async with Worker(engine, "old", filters=only("order")) as worker:
        await client.start(id="a")
        await (await worker.turn()).abandon("nondeterminism", "event 7 differs")
    for n in range(1000):
        async with Worker(engine, f"{n}", filters=only("invoice")):
            pass

    async with Worker(engine, "old", filters=only("order")) as worker:
        await settle(engine)

        assert worker.waiting == ["a"]


async def test_many_parked_instances_are_all_woken(
    engine: Engine, client: Client, loop_time: LoopTime
) -> None:
    async with Worker(engine, "old") as old:
        await asyncio.gather(*(client.start(id=f"{n}") for n in range(300)))
        turns = [await old.turn() for _ in range(300)]
        await asyncio.gather(*(turn.abandon("no-version", "no version 9") for turn in turns))

    woken = set[str]()
    async with Worker(engine, "new") as new:
        for _ in range(10):
            await loop_time.advance(0.5)
            await settle(engine)
            turns = [await new.turn() for _ in list(new.waiting)]
            woken.update(turn.id for turn in turns)
            await asyncio.gather(*(turn.complete() for turn in turns))

    assert len(woken) == 300


# Leases, pings, ends


async def test_a_turn_without_an_answer_for_a_minute_is_offered_again(
    engine: Engine, client: Client, worker: Worker, loop_time: LoopTime
) -> None:
    await client.start(id="a")
    stuck = await worker.turn()

    await loop_time.advance(54.0)
    await settle(engine)
    within = worker.waiting
    await loop_time.advance(12.0)
    await loop_time.advance(6.0)
    again = await worker.turn()
    await stuck.finish('"stuck"')
    await again.finish('"again"')

    assert within == []
    assert again.token != stuck.token
    assert (await client.state("a")).output.value == '"again"'


async def test_an_activity_on_a_live_stream_has_all_the_time_in_the_world(
    engine: Engine, client: Client, worker: Worker, loop_time: LoopTime
) -> None:
    activity = await one_activity_in(worker, client)

    for _ in range(48):
        await loop_time.advance(3600.0)
    await settle(engine)
    again = worker.waiting
    await activity.complete()

    assert again == []
    await worker.turn()


async def test_an_idle_stream_is_pinged_every_thirty_seconds(
    engine: Engine, worker: Worker, loop_time: LoopTime
) -> None:
    await loop_time.advance(25.0)
    await settle(engine)
    early = worker.pings
    await loop_time.advance(6.0)
    await worker.ping()
    await loop_time.advance(31.0)
    await worker.ping()

    assert early == 0


@pytest.mark.parametrize("moment", range(8))
async def test_calls_under_way_end_although_the_close_that_awaits_them_is_cancelled(
    opened: OpenEngine, moment: int
) -> None:
    client = Client(await opened())
    first = asyncio.create_task(client.start(id="a"))
    for _ in range(moment):
        await asyncio.sleep(0)
    second = asyncio.create_task(client.start(id="b"))
    await asyncio.sleep(0)
    closing = asyncio.create_task(client.hub.close())
    for _ in range(2):
        await asyncio.sleep(0)
    closing.cancel()

    _, under_way = await asyncio.wait([first, second], timeout=DEADLINE_SECONDS)

    assert not under_way
    await asyncio.gather(first, second, return_exceptions=True)


async def test_closing_ends_streams_and_calls_with_unavailable(opened: OpenEngine) -> None:
    engine = await opened()
    client = Client(engine)
    async with Worker(engine) as worker:
        await client.start(id="a")
        turn = await worker.turn()
        await turn.complete()
        waiting = asyncio.ensure_future(client.completion("a"))
        await settle(engine)

        await engine.close()
        await engine.close()

        for refused in (waiting, client.status("a"), client.start(), turn.complete()):
            with pytest.raises(CallError) as error:
                await refused
            assert error.value.status is Status.UNAVAILABLE
        lost = await worker.lost()
        assert lost is None or lost.status is Status.UNAVAILABLE


async def test_a_cancelled_stream_ends_normally_and_may_be_cancelled_again(
    engine: Engine, client: Client
) -> None:
    async with Worker(engine) as worker:
        await client.start(id="a")
        await worker.turn()

        await worker.leave()
        await worker.leave()

        assert await worker.lost() is None


async def test_the_hub_knows_whether_a_worker_was_ever_here(opened: OpenEngine) -> None:
    engine = await opened()
    before = engine.has_served_worker
    async with Worker(engine) as worker:
        await Client(engine).start(id="a")
        await (await worker.turn()).finish()
    await engine.close()

    engine = await opened()

    assert (before, engine.has_served_worker) == (False, True)


async def test_two_workers_share_a_hundred_instances_and_one_may_die(
    engine: Engine, client: Client, loop_time: LoopTime
) -> None:
    """Two steps each; the first worker vanishes holding turns and activities."""
    ids = [f"{n}" for n in range(100)]
    async with Worker(engine, "survivor", turns=20, activities=20) as survivor:
        async with Worker(engine, "victim", turns=20, activities=20) as victim:
            for instance_id in ids:
                await client.start(id=instance_id)
            for _ in range(10):
                await (await victim.turn()).call("charge")
            held = [await victim.activity() for _ in range(3)]
        await loop_time.advance(11.0)

        running = asyncio.create_task(answer_everything(survivor))
        outcomes = await asyncio.gather(*(client.completion(one) for one in ids))
        running.cancel()

    assert set(outcomes) == {COMPLETED}
    assert len(held) == 3
    for instance_id in ids:
        history = await client.history(instance_id)
        assert sum(event.HasField("taskCompleted") for event in history) == 1


async def answer_everything(worker: Worker) -> None:
    """Run orchestrations of one activity each, as long as they come."""

    async def turns() -> None:
        while True:
            turn = await worker.turn()
            if any(event.HasField("taskCompleted") for event in turn.new):
                await turn.finish()
            else:
                await turn.call("charge")

    async def activities() -> None:
        while True:
            await (await worker.activity()).complete()

    await asyncio.gather(turns(), activities())


async def test_a_worker_may_be_told_of_a_termination_by_nothing_but_silence(
    engine: Engine, client: Client
) -> None:
    """A turn voided by a termination frees the worker's place."""
    async with Worker(engine, turns=1) as worker:
        await client.start(id="a")
        await worker.turn("a")
        await client.start(id="b")
        await client.terminate("a")

        await worker.turn("b")

    assert await client.status("a") == TERMINATED
