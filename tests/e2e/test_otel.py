"""Spans and metrics: one trace from the start of an instance to all that it leads to."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import EntryPoint
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode, get_current_span

from durableflow import (
    ActivityContext,
    App,
    Client,
    Orchestration,
    OrchestrationContext,
    OrchestrationFailedError,
    RetryPolicy,
)
from durableflow.activation import InstalledPlugin, make_plugin
from durableflow.notifications import OrchestrationTrace, TurnFinished
from durableflow.otel import OpenTelemetry
from durableflow.protocol.traces import TraceContext

pytestmark = pytest.mark.e2e


class Telescope:
    """An app under observation."""

    def __init__(self, task_hub: str, **tracing: Any) -> None:
        self._spans = InMemorySpanExporter()
        self.tracing = TracerProvider(**tracing)
        self.tracing.add_span_processor(SimpleSpanProcessor(self._spans))
        self._metrics = InMemoryMetricReader()
        self.plugin = OpenTelemetry(
            tracer_provider=self.tracing, meter_provider=MeterProvider([self._metrics])
        )
        self.app = make_app(task_hub, self.plugin)

    def spans(self) -> dict[str, ReadableSpan]:
        """Return the spans by name; of several with one name, the last."""
        return {span.name: span for span in self._spans.get_finished_spans()}

    def all_spans(self) -> tuple[ReadableSpan, ...]:
        """Return all spans, in the order of their ends."""
        return self._spans.get_finished_spans()

    def counted(self, name: str) -> dict[tuple[str, ...], int]:
        """Return the values of a counter, by the values of its attributes."""
        data = self._metrics.get_metrics_data()
        assert data is not None
        return {
            tuple(str(value) for _, value in sorted((point.attributes or {}).items())): point.value
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        }


def make_app(task_hub: str, plugin: object) -> App:
    app = App("observed", task_hub=task_hub, plugins=[plugin])

    @app.activity
    def charge(ctx: ActivityContext, order: str) -> str:
        get_current_span().add_event("charged")
        if ctx.attempt == 1 and order == "flawed":
            raise ValueError("the card was refused")
        return order

    @app.activity
    async def thank() -> str:
        return f"{get_current_span().get_span_context().span_id:016x}"

    @app.orchestrator
    def pack(ctx: OrchestrationContext) -> Orchestration[str]:
        return (yield ctx.call_activity(thank))

    @app.orchestrator(version="1.0")
    def order(ctx: OrchestrationContext, what: str) -> Orchestration[str]:
        policy = RetryPolicy(first_retry_interval=0, max_number_of_attempts=2)
        yield ctx.call_activity(charge, input=what, retry_policy=policy)
        return (yield ctx.call_sub_orchestrator(pack))

    @app.orchestrator
    def rounds(ctx: OrchestrationContext, left: int) -> Orchestration[None]:
        yield ctx.call_activity(thank)
        if left:
            ctx.continue_as_new(left - 1)

    @app.orchestrator
    def broken(ctx: OrchestrationContext) -> None:
        raise ValueError("out of order")

    return app


@pytest.fixture
def telescope(task_hub: str) -> Telescope:
    return Telescope(task_hub)


@pytest.fixture
def client(telescope: Telescope) -> Iterator[Client]:
    with telescope.app.running() as client:
        yield client


def parents(spans: dict[str, ReadableSpan]) -> dict[str, str | None]:
    names = {span.context.span_id: name for name, span in spans.items()}
    return {
        name: None if span.parent is None else names[span.parent.span_id]
        for name, span in spans.items()
    }


def test_one_trace_leads_from_the_start_to_activities_and_children(
    telescope: Telescope, client: Client
):
    seen_inside = client.run_orchestration("order", input="lamp")

    spans = telescope.spans()
    assert parents(spans) == {
        "start order": None,
        "orchestration order": "start order",
        "activity charge": "orchestration order",
        "orchestration pack": "orchestration order",
        "activity thank": "orchestration pack",
    }
    assert len({span.context.trace_id for span in spans.values()}) == 1
    assert seen_inside == f"{spans['activity thank'].context.span_id:016x}"
    assert spans["start order"].kind is SpanKind.PRODUCER
    assert spans["orchestration order"].kind is SpanKind.SERVER
    assert spans["activity charge"].kind is SpanKind.CONSUMER


def test_spans_cover_what_they_stand_for(telescope: Telescope, client: Client):
    client.run_orchestration("order", input="lamp")

    spans = telescope.spans()
    order, charge = spans["orchestration order"], spans["activity charge"]
    assert order.start_time <= charge.start_time <= charge.end_time <= order.end_time
    assert [event.name for event in charge.events] == ["charged"]
    assert order.attributes["durableflow.version"] == "1.0"
    assert order.attributes["durableflow.outcome"] == "completed"


def test_a_start_goes_on_with_the_trace_of_the_caller(telescope: Telescope, client: Client):
    with telescope.tracing.get_tracer("caller").start_as_current_span("request"):
        client.run_orchestration("pack")

    spans = telescope.spans()
    assert parents(spans)["start pack"] == "request"
    assert len({span.context.trace_id for span in spans.values()}) == 1


def test_each_attempt_has_a_span_and_failures_are_errors(telescope: Telescope, client: Client):
    client.run_orchestration("order", input="flawed")
    with pytest.raises(OrchestrationFailedError):
        client.run_orchestration("broken")

    spans = telescope.spans()
    attempts = telescope.counted("durableflow.activities")
    assert attempts["charge", "failed"] == attempts["charge", "completed"] == 1
    assert spans["activity charge"].attributes["durableflow.attempt"] == 2
    assert spans["orchestration order"].status.status_code is StatusCode.UNSET
    assert spans["orchestration broken"].status.status_code is StatusCode.ERROR
    assert "out of order" in spans["orchestration broken"].status.description


def test_turns_and_attempts_are_counted(telescope: Telescope, client: Client):
    client.run_orchestration("order", input="lamp")

    assert telescope.counted("durableflow.turns") == {
        ("order", "waiting", "1.0"): 2,
        ("order", "completed", "1.0"): 1,
        ("pack", "waiting", ""): 1,
        ("pack", "completed", ""): 1,
    }
    assert telescope.counted("durableflow.activities") == {
        ("charge", "completed"): 1,
        ("thank", "completed"): 1,
    }


def test_every_span_has_an_id_of_its_own(telescope: Telescope, client: Client):
    for _ in range(3):
        client.run_orchestration("order", input="lamp")

    spans = telescope.all_spans()
    assert len(spans) == 3 * 5
    assert len({span.context.span_id for span in spans}) == len(spans)


def test_a_trace_goes_on_through_generations(telescope: Telescope, client: Client):
    client.run_orchestration("rounds", input=2)

    spans = telescope.all_spans()
    start = telescope.spans()["start rounds"].context
    generations = [span for span in spans if span.name == "orchestration rounds"]
    activities = [span for span in spans if span.name == "activity thank"]
    assert {span.context.trace_id for span in spans} == {start.trace_id}
    assert [span.parent.span_id for span in generations] == [start.span_id] * 3
    assert [span.attributes["durableflow.outcome"] for span in generations] == [
        *["continued_as_new"] * 2,
        "completed",
    ]
    assert [span.parent.span_id for span in activities] == [
        span.context.span_id for span in generations
    ]


def test_a_worker_that_learns_of_a_termination_writes_the_span():
    """As some engines tell it; the embedded one ends an instance without its worker."""
    telescope = Telescope("sqlite://")
    parent = TraceContext(f"00-{'1' * 32}-{'2' * 16}-01")
    own = parent.orchestration("a", "b")
    began = datetime(2030, 1, 1, tzinfo=UTC)
    turn = TurnFinished(
        instance_id="a",
        execution_id="b",
        name="order",
        version=None,
        time=began,
        outcome="terminated",
        replayed_events=0,
        new_events=2,
        actions=0,
        seconds=0.1,
        started_at=began,
        trace=OrchestrationTrace(parent=parent, own=own),
    )

    telescope.plugin.turn_finished(turn)

    span = telescope.spans()["orchestration order"]
    assert f"{span.context.span_id:016x}" == own.span_id
    assert span.attributes["durableflow.outcome"] == "terminated"


def test_what_is_not_sampled_writes_no_span_and_is_counted(task_hub: str):
    telescope = Telescope(task_hub, sampler=ALWAYS_OFF)

    with telescope.app.running() as client:
        client.run_orchestration("pack")

    assert telescope.spans() == {}
    assert telescope.counted("durableflow.activities") == {("thank", "completed"): 1}


def test_without_a_provider_nothing_is_written_and_all_runs(task_hub: str):
    with make_app(task_hub, OpenTelemetry()).running() as client:
        assert client.run_orchestration("order", input="lamp")


def test_settings_can_turn_a_half_of_it_off():
    point = EntryPoint("otel", "durableflow.otel:OpenTelemetry", "durableflow")

    plugin = make_plugin("otel", {"traces": "off"}, {"otel": InstalledPlugin("otel", "", point)})

    assert isinstance(plugin, OpenTelemetry)
    assert (plugin.traces, plugin.metrics) == (False, True)
