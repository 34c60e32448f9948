"""Which session a request gets, and what becomes of a turn."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from durableflow import hookimpl
from durableflow._proto import task_hub_pb2 as pb
from durableflow.converter import Converter
from durableflow.plugins import PluginSet
from durableflow.protocol.metadata import POSITION
from durableflow.registry import Registry
from durableflow.replay import Callees, OrchestrationContext, when_all
from durableflow.routing import Abandon, ExactVersionRouting, Fail, Run
from durableflow.settings import Settings
from durableflow.worker.turns import Completed, GivenBack, HistoryNeeded, TurnJob, TurnRunner
from tests.unit.replay.histories import (
    completed,
    scheduled,
    started,
    turn_completed,
    turn_started,
)


class Bench:
    """An orchestrator of two activities, and how often it began."""

    def __init__(self, plugin: object | None = None, **settings: Any) -> None:
        self.begun = 0
        self.closed = 0
        self.registry = Registry()
        self.registry.add_orchestrator(self.two_steps, name="order")
        plugins = PluginSet()
        plugins.register(plugin or ExactVersionRouting())
        self.runner = TurnRunner(
            registry=self.registry,
            callees=Callees(self.registry),
            converter=Converter(),
            plugins=plugins,
            settings=Settings(task_hub="sqlite://", root=Path("/srv"), **settings),
        )

    def two_steps(self, ctx: OrchestrationContext) -> Any:
        self.begun += 1
        try:
            first = yield ctx.call_activity("one")
            second = yield ctx.call_activity("two")
            return [first, second]
        finally:
            self.closed += 1

    def run(self, request: pb.OrchestratorRequest, token: str, history: Any = None) -> Any:
        return self.runner.run(TurnJob(request, token, history))

    def begin(self) -> None:
        assert isinstance(self.run(request(FIRST, position="0:"), "t1"), Completed)


def request(
    new: Sequence[pb.HistoryEvent],
    *,
    position: str | None = None,
    past: Sequence[pb.HistoryEvent] = (),
    streaming: bool = False,
) -> pb.OrchestratorRequest:
    made = pb.OrchestratorRequest(
        instanceId="a1", pastEvents=past, newEvents=new, requiresHistoryStreaming=streaming
    )
    made.executionId.value = "e1"
    if position is not None:
        made.properties[POSITION].string_value = position
    return made


FIRST = [turn_started(), started()]
AFTER_FIRST = [*FIRST, scheduled(1, "one"), turn_completed()]
SECOND = [turn_started(1), completed(1, "a")]
AFTER_SECOND = [*AFTER_FIRST, *SECOND, scheduled(2, "two"), turn_completed()]
THIRD = [turn_started(2), completed(2, "b")]


def scheduled_names(outcome: Any) -> list[str]:
    assert isinstance(outcome, Completed)
    return [a.scheduleTask.name for a in outcome.turn.actions if a.HasField("scheduleTask")]


def test_the_first_turn_begins_the_orchestrator() -> None:
    bench = Bench()

    outcome = bench.run(request(FIRST, position="0:"), "t1")

    assert scheduled_names(outcome) == ["one"]
    response = outcome.response()
    assert (response.instanceId, response.completionToken) == ("a1", "t1")
    assert not response.HasField("customStatus")
    assert not response.HasField("numEventsProcessed")


def test_a_response_can_be_made_again() -> None:
    outcome = Bench().run(request(FIRST, position="0:"), "t1")

    first = outcome.response()
    text = first.SerializeToString()
    first.Clear()

    assert outcome.response().SerializeToString() == text


def test_the_trace_context_comes_back() -> None:
    traced = request(FIRST, position="0:")
    traced.orchestrationTraceContext.spanID.value = "span"

    outcome = Bench().run(traced, "t1")

    assert outcome.response().orchestrationTraceContext.spanID.value == "span"


def test_a_session_goes_on_where_the_position_fits() -> None:
    bench = Bench()
    bench.begin()

    second = bench.run(request(SECOND, position="4:t1"), "t2")
    third = bench.run(request(THIRD, position="8:t2"), "t3")

    assert scheduled_names(second) == ["two"]
    assert third.turn.finished
    assert bench.begun == 1
    assert bench.closed == 1


@pytest.mark.parametrize("position", ["4:other", "3:t1", "5:t1", "4:"])
def test_a_position_that_does_not_fit_costs_the_session(position: str) -> None:
    bench = Bench()
    bench.begin()

    outcome = bench.run(request(SECOND, position=position), "t2")

    assert isinstance(outcome, HistoryNeeded)
    assert bench.closed == 1


def test_a_history_that_was_read_separately_is_replayed() -> None:
    bench = Bench()
    bench.begin()
    wanted = request(SECOND, position="4:other")
    assert isinstance(bench.run(wanted, "t2"), HistoryNeeded)

    outcome = bench.run(wanted, "t2", list(AFTER_FIRST))

    assert scheduled_names(outcome) == ["two"]
    assert bench.begun == 2
    assert scheduled_names(bench.run(request(THIRD, position="8:t2"), "t3")) == []
    assert bench.begun == 2


def test_a_history_that_is_not_the_one_announced_gives_the_item_back() -> None:
    outcome = Bench().run(request(THIRD, position="8:t2"), "t3", list(AFTER_FIRST))

    assert isinstance(outcome, GivenBack)
    assert outcome.kind is None


def test_a_first_turn_that_comes_again_begins_again() -> None:
    bench = Bench()
    bench.begin()

    outcome = bench.run(request(FIRST, position="0:"), "t1b")

    assert scheduled_names(outcome) == ["one"]
    assert bench.begun == 2
    assert bench.closed == 1


def test_an_engine_that_sends_past_events_finds_the_session_too() -> None:
    bench = Bench()

    bench.run(request(FIRST), "")
    second = bench.run(request(SECOND, past=AFTER_FIRST), "")
    third = bench.run(request(THIRD, past=AFTER_SECOND), "")

    assert scheduled_names(second) == ["two"]
    assert third.turn.finished
    assert bench.begun == 1


def test_past_events_of_the_same_number_but_another_content_are_replayed() -> None:
    bench = Bench()
    bench.run(request(FIRST), "")
    bench.run(request(SECOND, past=AFTER_FIRST), "")
    other = [turn_started(1), completed(1, "other")]
    history = [*AFTER_FIRST, *other, scheduled(2, "two"), turn_completed()]

    outcome = bench.run(request(THIRD, past=history), "")

    assert outcome.turn.actions[-1].completeOrchestration.result.value == '["other","b"]'
    assert bench.begun == 2


def test_an_engine_that_wants_its_history_streamed_gets_its_way() -> None:
    bench = Bench()
    wanted = request(SECOND, streaming=True)

    assert isinstance(bench.run(wanted, "t2"), HistoryNeeded)
    assert scheduled_names(bench.run(wanted, "t2", list(AFTER_FIRST))) == ["two"]


def test_a_session_that_was_fed_by_past_events_goes_on_by_position() -> None:
    bench = Bench()
    bench.run(request(SECOND, past=AFTER_FIRST), "t2")

    outcome = bench.run(request(THIRD, position="8:t2"), "t3")

    assert outcome.turn.finished
    assert bench.begun == 1


def test_an_unknown_name_parks_the_instance_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    outcome = Bench().run(request([turn_started(), started("unknown")], position="0:"), "t1")

    assert isinstance(outcome, GivenBack)
    assert outcome.kind == "no-version"
    assert "no orchestrator 'unknown'" in outcome.reason
    assert outcome.reason in caplog.text


def test_code_that_left_its_history_parks_the_instance(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    history = [*FIRST, scheduled(1, "another"), turn_completed()]

    outcome = bench.run(request(SECOND, position="4:t1"), "t2", history)

    assert isinstance(outcome, GivenBack)
    assert outcome.kind == "nondeterminism"
    assert "another" in outcome.reason
    assert outcome.reason in caplog.text
    assert bench.closed == 1


def test_code_that_left_its_history_fails_the_instance_if_asked_to() -> None:
    bench = Bench(on_nondeterminism="fail")
    history = [*FIRST, scheduled(1, "another"), turn_completed()]

    outcome = bench.run(request(SECOND, position="4:t1"), "t2", history)

    assert outcome.turn.finished
    failure = outcome.turn.actions[-1].completeOrchestration.failureDetails
    assert failure.errorType == "durableflow.errors.NonDeterminismError"


class Router:
    """Answers with what it was made with, and counts."""

    def __init__(self, answer: object) -> None:
        self.answer = answer
        self.asked = 0

    @hookimpl
    def resolve_version(self) -> Any:
        self.asked += 1
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


def test_a_version_is_resolved_once_for_a_session() -> None:
    router = Router(Run(None))
    bench = Bench(router)

    bench.begin()
    bench.run(request(SECOND, position="4:t1"), "t2")

    assert router.asked == 1


def test_routing_may_fail_the_instance() -> None:
    outcome = Bench(Router(Fail("retired"))).run(request(FIRST, position="0:"), "t1")

    assert outcome.turn.finished
    complete = outcome.turn.actions[0].completeOrchestration
    assert complete.orchestrationStatus == pb.ORCHESTRATION_STATUS_FAILED
    assert complete.failureDetails.errorMessage == "retired"
    assert complete.failureDetails.isNonRetriable


def test_routing_may_leave_the_instance_waiting() -> None:
    outcome = Bench(Router(Abandon("later"))).run(request(FIRST, position="0:"), "t1")

    assert (outcome.kind, outcome.reason) == ("no-version", "later")


def test_routing_to_a_version_that_is_not_here_parks_the_instance() -> None:
    outcome = Bench(Router(Run("9"))).run(request(FIRST, position="0:"), "t1")

    assert outcome.kind == "no-version"
    assert "'9'" in outcome.reason


@pytest.mark.parametrize("error", [ValueError("broken"), SystemExit(3)])
def test_whatever_a_turn_raises_gives_the_item_back(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    outcome = Bench(Router(error)).run(request(FIRST, position="0:"), "t1")

    assert isinstance(outcome, GivenBack)
    assert outcome.kind == "broken-turn"
    assert type(error).__name__ in outcome.reason
    assert "broke" in caplog.text


def test_a_history_without_a_beginning_gives_the_item_back() -> None:
    outcome = Bench().run(request([turn_started(), completed(1)], past=[turn_started()]), "t1")

    assert isinstance(outcome, GivenBack)
    assert "executionStarted" in outcome.reason


def test_nothing_is_kept_when_the_cache_is_off() -> None:
    bench = Bench(session_cache_count=0)
    bench.begin()

    assert bench.closed == 1
    assert isinstance(bench.run(request(SECOND, position="4:t1"), "t2"), HistoryNeeded)


def test_orchestrators_are_guarded_where_the_settings_say_so():
    def order(ctx: OrchestrationContext) -> float:
        return time.time()

    def status_of(**settings: Any) -> str:
        bench = Bench(**settings)
        bench.registry.add_orchestrator(order, version="2")
        outcome = bench.run(request([turn_started(), started(version="2")], position="0:"), "t1")
        status = outcome.turn.actions[-1].completeOrchestration.orchestrationStatus
        return pb.OrchestrationStatus.Name(status).removeprefix("ORCHESTRATION_STATUS_")

    assert status_of() == status_of(determinism_guards="warn") == "COMPLETED"
    assert status_of(determinism_guards="raise") == "FAILED"


def failure_of(outcome: Any) -> pb.TaskFailureDetails:
    """The failure that a turn ends with; it asks for nothing else."""
    assert isinstance(outcome, Completed)
    assert outcome.turn.finished
    (action,) = outcome.turn.actions
    return action.completeOrchestration.failureDetails


def test_a_turn_with_a_payload_that_is_too_large_fails_and_closes_its_session() -> None:
    bench = Bench(max_payload_bytes=1024)
    closed = []

    def large(ctx: OrchestrationContext) -> Any:
        try:
            ctx.call_activity("small", input="x")
            yield ctx.call_activity("charge", input="x" * 2000)
        finally:
            closed.append(True)

    bench.registry.add_orchestrator(large)

    failure = failure_of(bench.run(request([turn_started(), started("large")], position="0:"), "t"))

    assert failure.errorType == "durableflow.errors.PayloadTooLargeError"
    assert "input of activity 'charge' is too large: 2,002 bytes" in failure.errorMessage
    assert failure.isNonRetriable
    assert closed


def test_a_custom_status_that_is_too_large_fails_the_instance() -> None:
    bench = Bench(max_payload_bytes=1024)

    def large(ctx: OrchestrationContext) -> Any:
        ctx.set_custom_status("x" * 2000)
        yield ctx.call_activity("one")

    bench.registry.add_orchestrator(large)

    failure = failure_of(bench.run(request([turn_started(), started("large")], position="0:"), "t"))

    assert "custom status of orchestrator 'large' is too large" in failure.errorMessage


def test_a_turn_that_asks_for_too_much_at_once_fails() -> None:
    bench = Bench(max_message_bytes=64 * 1024)

    def large(ctx: OrchestrationContext) -> Any:
        yield when_all([ctx.call_activity("one", input="x" * 1000) for _ in range(100)])

    bench.registry.add_orchestrator(large)

    failure = failure_of(bench.run(request([turn_started(), started("large")], position="0:"), "t"))

    assert "One turn asks for 100 actions of 10" in failure.errorMessage
