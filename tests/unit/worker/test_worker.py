"""A whole worker, with the test on the other side of its task hub."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from durableflow import hookimpl
from durableflow._proto import task_hub_pb2 as pb
from durableflow.errors import CallError, SettingsError, StorageUnusableError
from durableflow.hub.loop import await_on
from durableflow.hub.running_turn import in_turn
from durableflow.protocol.metadata import POSITION, decode_text
from durableflow.protocol.status import Status
from durableflow.replay import OrchestrationContext
from durableflow.worker import ActivityContext
from durableflow.worker.orchestrations import TurnLimits
from tests.unit.replay.histories import completed, scheduled, started, turn_completed, turn_started
from tests.unit.worker.bench import SECONDS, Bench, Gate
from tests.unit.worker.hub import ScriptedHub, activity_item
from tests.unit.worker.probing import get


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    await made.close()


class Watcher(logging.Handler):
    """Sees the first record that is logged."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.seen = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.set()


def turn_item(
    name: str = "order",
    *,
    token: str = "t1",
    position: str = "0:",
    new: list[pb.HistoryEvent] | None = None,
    instance_id: str = "a1",
) -> pb.WorkItem:
    item = pb.WorkItem(completionToken=token)
    request = item.orchestratorRequest
    request.instanceId = instance_id
    request.executionId.value = "e1"
    request.newEvents.extend(new or [turn_started(), started(name)])
    request.properties[POSITION].string_value = position
    return item


async def test_a_batch_of_activities_is_answered(bench: Bench) -> None:
    def double(ctx: ActivityContext, number: int) -> int:
        return number * 2

    bench.registry.add_activity(double)
    await bench.start()

    await bench.push(
        *(activity_item("double", input=str(n), token=f"t{n}", task_id=n) for n in range(200))
    )

    answers = await bench.answers(200)
    assert {(a.completionToken, a.result.value) for a in answers} == {
        (f"t{n}", str(n * 2)) for n in range(200)
    }


async def test_an_async_activity_runs_on_the_apps_loop(bench: Bench) -> None:
    loops = []

    async def work() -> None:
        loops.append(asyncio.get_running_loop())

    bench.registry.add_activity(work)
    await bench.start()

    await bench.push(activity_item("work"))

    await bench.answers()
    assert loops == [bench.app_loop.get()]


async def test_an_activity_that_comes_again_while_it_runs_is_not_run_twice(bench: Bench) -> None:
    gate = Gate()

    def work() -> None:
        gate.block()

    bench.registry.add_activity(work)
    await bench.start()
    await bench.push(activity_item("work", token="first"))
    await gate.wait_entered()

    await bench.fail_stream()
    await bench.push(activity_item("work", token="second"))
    await bench.push(activity_item("unknown", token="after", task_id=2))
    await bench.answers(1)
    gate.opened.set()

    answers = await bench.answers(2)
    assert [a.completionToken for a in answers] == ["after", "second"]
    assert gate.passed == 1


async def test_activities_of_two_generations_are_two_activities(bench: Bench) -> None:
    def work() -> None: ...

    bench.registry.add_activity(work)
    await bench.start()

    await bench.push(
        activity_item("work", token="old", execution_id="e1"),
        activity_item("work", token="new", execution_id="e2"),
    )

    assert {a.completionToken for a in await bench.answers(2)} == {"old", "new"}


async def test_a_result_outlives_its_stream(bench: Bench) -> None:
    def work() -> str:
        return "done"

    bench.registry.add_activity(work)
    await bench.start()
    bench.hub.failures["complete_activity_task"] = [Status.UNAVAILABLE] * 2

    await bench.push(activity_item("work"))
    await bench.fail_stream()

    (answer,) = await bench.answers()
    assert answer.result.value == '"done"'


async def test_a_worker_keeps_its_name_when_it_reconnects(bench: Bench) -> None:
    await bench.start()

    await bench.fail_stream()

    assert len({request.worker_instance_id for request in bench.hub.requests}) == 1
    assert bench.hub.metadata == (("durableflow-sessions", "1"),)


async def test_sessions_end_with_their_stream(bench: Bench) -> None:
    closed = threading.Event()

    def order(ctx: OrchestrationContext) -> Any:
        try:
            yield ctx.call_activity("one")
        finally:
            closed.set()

    bench.registry.add_orchestrator(order)
    await bench.start()
    await bench.push(turn_item())
    await bench.answers()

    await bench.fail_stream()

    assert await asyncio.to_thread(closed.wait, SECONDS)


async def test_a_missing_session_is_rebuilt_from_the_streamed_history(bench: Bench) -> None:
    def order(ctx: OrchestrationContext) -> Any:
        return [(yield ctx.call_activity("one"))]

    bench.registry.add_orchestrator(order)
    bench.hub.histories["a1"] = [
        turn_started(),
        started("order"),
        scheduled(1, "one"),
        turn_completed(),
    ]
    await bench.start()

    await bench.push(turn_item(position="4:lost", new=[turn_started(1), completed(1, "a")]))

    (answer,) = await bench.answers()
    assert answer.actions[0].completeOrchestration.result.value == '["a"]'
    assert bench.hub.streamed == ["a1"]


@pytest.mark.parametrize("problem", [Status.NOT_FOUND, StorageUnusableError("file replaced")])
async def test_a_history_that_cannot_be_read_gives_the_item_back(
    bench: Bench, problem: object
) -> None:
    bench.hub.failures["stream_instance_history"] = [problem]
    await bench.start()

    await bench.push(turn_item(position="4:lost", new=[turn_started(1), completed(1, "a")]))

    assert await bench.abandons() == [("t1", {})]


async def test_a_history_that_is_too_large_parks_its_instance_with_what_to_raise(
    bench: Bench,
) -> None:
    text = "CLIENT: Received message larger than max (200000 vs. 65536)"
    bench.hub.failures["stream_instance_history"] = [CallError(Status.RESOURCE_EXHAUSTED, text)]
    await bench.start()

    await bench.push(turn_item(position="4:lost", new=[turn_started(1), completed(1, "a")]))

    ((_, metadata),) = await bench.abandons()
    reason = decode_text(metadata["durableflow-abandon-reason"])
    assert metadata["durableflow-abandon-kind"] == "payload"
    assert "instance 'a1'" in reason
    assert "200000 vs. 65536" in reason
    assert "Raise max_message_bytes" in reason


async def test_an_instance_that_nothing_here_runs_is_parked_with_the_reason(bench: Bench) -> None:
    await bench.start()

    await bench.push(turn_item("naïve name"))

    ((token, metadata),) = await bench.abandons()
    assert token == "t1"
    assert metadata["durableflow-abandon-kind"] == "no-version"
    assert "naïve name" in decode_text(metadata["durableflow-abandon-reason"])


async def test_an_engine_without_abandon_is_left_without_an_answer(bench: Bench) -> None:
    bench.hub.failures["abandon_orchestrator_task"] = [Status.UNIMPLEMENTED]
    await bench.start()

    await bench.push(turn_item("unknown", token="t1"))
    await bench.until(lambda: not bench.hub.failures["abandon_orchestrator_task"])
    await bench.push(turn_item("unknown", token="t2"))

    assert [token for token, _ in await bench.abandons()] == ["t2"]


async def test_code_of_an_orchestrator_knows_that_it_is_in_a_turn(bench: Bench) -> None:
    seen = []

    def order(ctx: OrchestrationContext) -> Any:
        seen.append(in_turn())
        try:
            yield ctx.call_activity("one")
        finally:
            seen.append(in_turn())

    def work() -> None:
        seen.append(in_turn())

    bench.registry.add_orchestrator(order)
    bench.registry.add_activity(work)
    await bench.start()
    await bench.push(turn_item())
    await bench.answers()
    await bench.push(activity_item("work"))
    await bench.answers(2)
    await bench.drain()

    assert seen == [True, False, True]
    assert not in_turn()


async def test_a_slow_turn_is_reported_with_its_stack(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    gate = Gate()
    watcher = Watcher()
    reports = logging.getLogger("durableflow.worker.orchestrations")
    reports.addHandler(watcher)
    bench.limits = TurnLimits(slow_seconds=0.02)

    def order(ctx: OrchestrationContext) -> Any:
        gate.block()
        yield ctx.call_activity("one")

    bench.registry.add_orchestrator(order)
    await bench.start()
    await bench.push(turn_item())

    assert await asyncio.to_thread(watcher.seen.wait, SECONDS)
    reports.removeHandler(watcher)
    gate.opened.set()
    await bench.answers()

    assert "Instance 'a1': a turn takes" in caplog.text
    assert "gate.block()" in caplog.text


async def test_a_turn_that_hangs_loses_its_thread_and_others_go_on(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    gate = Gate()
    bench.limits = TurnLimits(slow_seconds=0.01, forfeit_seconds=0.05)

    def hang(ctx: OrchestrationContext) -> Any:
        gate.block()
        yield ctx.call_activity("one")

    def order(ctx: OrchestrationContext) -> Any:
        yield ctx.call_activity("one")

    bench.registry.add_orchestrator(hang)
    bench.registry.add_orchestrator(order)
    await bench.start()

    await bench.push(
        turn_item("hang", instance_id="stuck", token="t1"),
        turn_item("order", instance_id="sound", token="t2"),
    )

    assert [answer.completionToken for answer in await bench.answers()] == ["t2"]
    ((token, metadata),) = await bench.abandons()
    reason = decode_text(metadata["durableflow-abandon-reason"])
    assert (token, metadata["durableflow-abandon-kind"]) == ("t1", "long-turn")
    assert "has lost 1, 1 of them to this instance" in reason
    assert "gate.block()" in reason
    assert "Instance 'stuck': A turn has not ended" in caplog.text
    gate.opened.set()


async def test_a_worker_gives_up_after_three_lost_threads(bench: Bench) -> None:
    opened = threading.Event()
    bench.limits = TurnLimits(slow_seconds=0.01, forfeit_seconds=0.03)

    def hang(ctx: OrchestrationContext) -> Any:
        opened.wait(SECONDS)
        yield ctx.call_activity("one")

    bench.registry.add_orchestrator(hang)
    await bench.start()
    assert bench.worker is not None

    await bench.push(*(turn_item("hang", instance_id=f"i{n}", token=f"t{n}") for n in range(3)))

    reason = await bench.wait_failed()
    assert "3 orchestrator threads" in reason
    assert bench.worker.unready_reason == f"given up: {reason}"
    opened.set()


async def probe(bench: Bench, path: str) -> tuple[int, dict[str, Any]]:
    assert bench.worker is not None
    return await asyncio.to_thread(get, f"{bench.worker.health_address}{path}")


async def test_readiness_follows_the_stream_and_liveness_does_not(bench: Bench) -> None:
    bench.settings["health_port"] = 0
    await bench.start()
    assert await probe(bench, "/readyz") == (200, {"status": "ok"})

    await bench.lose_stream()

    async with asyncio.timeout(SECONDS):
        while (answer := await probe(bench, "/readyz"))[0] == 200:
            pass
    assert answer[0] == 503
    assert "no work items from scripted://hub: UNAVAILABLE" in answer[1]["reason"]
    assert await probe(bench, "/livez") == (200, {"status": "ok"})
    await bench.restore_stream()
    assert await probe(bench, "/readyz") == (200, {"status": "ok"})


async def test_a_worker_that_drains_lives_and_is_not_ready(bench: Bench) -> None:
    gate = Gate()

    def work() -> None:
        gate.block()

    bench.settings["health_port"] = 0
    bench.registry.add_activity(work)
    await bench.start()
    await bench.push(activity_item("work"))
    await gate.wait_entered()

    draining = asyncio.create_task(bench.drain())
    await bench.until(lambda: bench.hub.streams[-1].cancelled)
    assert await probe(bench, "/readyz") == (503, {"status": "failed", "reason": "stopping"})
    assert (await probe(bench, "/livez"))[0] == 200
    gate.opened.set()
    await draining

    with pytest.raises(OSError, match="refused"):
        await probe(bench, "/livez")


async def test_a_worker_that_gave_up_neither_lives_nor_is_ready(bench: Bench) -> None:
    opened = threading.Event()
    bench.limits = TurnLimits(slow_seconds=0.01, forfeit_seconds=0.03, most_lost_threads=1)
    bench.settings["health_port"] = 0

    def hang(ctx: OrchestrationContext) -> Any:
        opened.wait(SECONDS)
        yield ctx.call_activity("one")

    bench.registry.add_orchestrator(hang)
    await bench.start()
    await bench.push(turn_item("hang"))
    await bench.wait_failed()

    reason = "1 orchestrator threads hang"
    assert await probe(bench, "/livez") == (503, {"status": "failed", "reason": reason})
    assert (await probe(bench, "/readyz"))[1]["reason"] == f"given up: {reason}"
    opened.set()


async def test_a_port_that_is_taken_is_refused_at_the_start(bench: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bench.settings["health_port"] = taken.getsockname()[1]

        with pytest.raises(SettingsError, match="Choose another health_port"):
            await bench.start()


async def test_draining_waits_for_what_runs(bench: Bench) -> None:
    gate = Gate()

    def work() -> str:
        gate.block()
        return "done"

    bench.registry.add_activity(work)
    await bench.start()
    await bench.push(activity_item("work"))
    await gate.wait_entered()

    draining = asyncio.create_task(bench.drain())
    await bench.until(lambda: bench.hub.streams[-1].cancelled)
    gate.opened.set()
    await draining

    assert [answer.result.value for answer in bench.hub.completed] == ['"done"']
    assert not bench.hub.abandoned


class HubOfOurs(ScriptedHub):
    """Knows what workers take, and so what it means to take nothing."""

    async def taken(
        self, work: pb.WorkItemFilters, *, timeout: float | None = None
    ) -> pb.WorkItemFilters:
        return work


async def test_a_long_drain_keeps_what_runs_by_a_stream_that_wants_nothing_more(
    bench: Bench,
) -> None:
    bench.hub = HubOfOurs()
    bench.lease_seconds = 0.1
    gate = Gate()

    def work(ctx: ActivityContext) -> str:
        gate.block()
        return "cancelled" if ctx.cancel_token.wait(0.5) else "finished"

    bench.registry.add_activity(work)
    await bench.start()
    await bench.push(activity_item("work"))
    await gate.wait_entered()

    draining = asyncio.create_task(bench.drain())
    await bench.until(lambda: len(bench.hub.streams) == 2)
    before, after = bench.hub.requests
    gate.opened.set()
    await draining

    assert after.worker_instance_id == before.worker_instance_id
    assert after.HasField("workItemFilters")
    assert after.workItemFilters == pb.WorkItemFilters()
    assert [answer.result.value for answer in bench.hub.completed] == ['"finished"']
    assert all(stream.cancelled for stream in bench.hub.streams)


async def test_what_has_not_ended_in_time_is_given_back(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    gate = Gate()
    cancelled = threading.Event()

    def work() -> None:
        gate.block()

    async def async_work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    bench.registry.add_activity(work)
    bench.registry.add_activity(async_work)
    await bench.start()
    await bench.push(
        activity_item("async_work", token="t2", task_id=2), activity_item("work", token="t1")
    )
    await gate.wait_entered()

    await bench.drain(0)

    assert sorted(bench.hub.abandoned) == [("t1", {}), ("t2", {})]
    assert cancelled.is_set()
    assert not bench.hub.completed
    assert "given back" in caplog.text
    gate.opened.set()


async def blocked(bench: Bench) -> Gate:
    """Start a worker whose only activity runs until the gate is opened."""
    gate = Gate()

    def work() -> None:
        gate.block()

    bench.registry.add_activity(work)
    await bench.start()
    await bench.push(activity_item("work"))
    await gate.wait_entered()
    return gate


async def test_stopping_cuts_a_drain_short(bench: Bench) -> None:
    gate = await blocked(bench)

    draining = asyncio.create_task(bench.drain(3600))
    await bench.until(lambda: bench.hub.streams[-1].cancelled)
    await bench.stop()
    await draining

    assert bench.hub.abandoned == [("t1", {})]
    gate.opened.set()


async def test_a_drain_that_is_cancelled_stops_at_once(bench: Bench) -> None:
    gate = await blocked(bench)

    draining = asyncio.create_task(bench.drain(3600))
    await bench.until(lambda: bench.hub.streams[-1].cancelled)
    draining.cancel()
    async with asyncio.timeout(SECONDS):
        await bench.stop()

    assert bench.hub.abandoned == [("t1", {})]
    assert draining.cancelled()
    gate.opened.set()


async def test_a_drain_that_is_cancelled_again_and_again_leaves_nothing_behind(
    bench: Bench,
) -> None:
    async def drain() -> None:
        assert bench.worker is not None
        draining = asyncio.create_task(bench.worker.drain(3600))
        while not draining.done():
            await asyncio.sleep(0)
            draining.cancel()

    bench.settings["health_port"] = 0
    gate = await blocked(bench)

    async with asyncio.timeout(SECONDS):
        await await_on(bench.hub_loop, drain())

    assert bench.hub.streams[-1].cancelled
    with pytest.raises(OSError, match="refused"):
        await probe(bench, "/livez")
    gate.opened.set()


async def test_draining_closes_the_sessions(bench: Bench) -> None:
    closed = threading.Event()

    def order(ctx: OrchestrationContext) -> Any:
        try:
            yield ctx.call_activity("one")
        finally:
            closed.set()

    bench.registry.add_orchestrator(order)
    await bench.start()
    await bench.push(turn_item())
    await bench.answers()

    await bench.drain()

    assert closed.is_set()


class Witness:
    def __init__(self, error: Exception | None = None) -> None:
        self.seen: list[tuple[str, object]] = []
        self.error = error

    @hookimpl
    def worker_started(self, app: object, hub_description: str) -> None:
        if self.error is not None:
            raise self.error
        self.seen.append((f"started on {hub_description}", app))

    @hookimpl
    def worker_stopping(self, app: object) -> None:
        self.seen.append(("stopping", app))


async def test_plugins_are_told_when_it_starts_and_stops(bench: Bench) -> None:
    witness = Witness()
    bench.plugins.register(witness)
    await bench.start()

    await bench.drain()
    await bench.drain()

    assert witness.seen == [("started on scripted://hub", "the app"), ("stopping", "the app")]


async def test_a_plugin_that_fails_at_the_start_leaves_nothing_running(bench: Bench) -> None:
    bench.plugins.register(Witness(ValueError("not today")))

    with pytest.raises(ValueError, match="not today"):
        await bench.start()

    assert all(stream.cancelled for stream in bench.hub.streams)


async def test_an_unknown_kind_of_work_is_reported_once(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    await bench.start()
    entity = pb.WorkItem(entityRequest=pb.EntityBatchRequest(instanceId="@counter@1"))

    await bench.push(entity, entity, activity_item("unknown"))
    await bench.answers()

    assert caplog.text.count("entityRequest") == 1


async def test_a_turn_that_is_too_large_for_the_engine_fails_its_instance(bench: Bench) -> None:
    def order(ctx: OrchestrationContext) -> Any:
        yield ctx.call_activity("charge", input="x" * 5000)

    bench.registry.add_orchestrator(order)
    await bench.start()
    bench.hub.failures["complete_orchestrator_task"] = [
        CallError(Status.RESOURCE_EXHAUSTED, "Received message larger than max (5100 vs. 4096)")
    ]
    await bench.push(turn_item())

    (answer,) = await bench.answers()

    (action,) = answer.actions
    assert action.completeOrchestration.orchestrationStatus == pb.ORCHESTRATION_STATUS_FAILED
    failure = action.completeOrchestration.failureDetails
    assert failure.errorType == "durableflow.errors.PayloadTooLargeError"
    assert "The input of activity 'charge' is too large for the engine" in failure.errorMessage
    assert failure.isNonRetriable
