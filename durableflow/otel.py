"""The plugin ``otel``: spans and metrics by OpenTelemetry.  Needs ``durableflow[otel]``.

A trace goes from the start of an instance through the orchestration to its activities and
sub-orchestrations, in whatever processes they run:

    start order  (PRODUCER, where the client is)
    └── orchestration order  (SERVER, from its beginning to its end)
        ├── activity charge  (CONSUMER, each attempt; the activity runs inside of it)
        └── orchestration pack  …

The span of an orchestration is written when it ends, by the worker that makes its last turn.  An
engine that ends a terminated instance without its worker, as the embedded one does, leaves it
without a span; those of its activities are there and name it as their parent.  Each generation of an
orchestration that continues as new has a span of its own, beside one another below the start.  What
is not sampled at the start is not sampled later.
"""

from __future__ import annotations

from contextvars import ContextVar, Token
from copy import copy
from typing import Any, Final

import attrs

from durableflow._version import __version__
from durableflow.hookspecs import hookimpl
from durableflow.notifications import ActivityFinished, ActivityStarted, TurnFinished
from durableflow.protocol.traces import TraceContext

try:
    from opentelemetry import context, trace
    from opentelemetry.metrics import Counter, Histogram, Meter, MeterProvider, get_meter
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError as error:  # the core has to do without
    raise ImportError(
        "The plugin 'otel' needs OpenTelemetry: pip install 'durableflow[otel]'"
    ) from error

_NAME: Final = "durableflow"
_ENDS: Final = frozenset({"completed", "failed", "terminated", "continued_as_new"})
_PROPAGATOR: Final = TraceContextTextMapPropagator()

# The span of the activity that runs here, and what to go back to after it.
_running: ContextVar[tuple[trace.Span, Token[context.Context]] | None] = ContextVar(
    "durableflow_activity_span", default=None
)


@attrs.define(eq=False)
class OpenTelemetry:
    """Writes spans and metrics.

    Attributes:
        traces: Whether to write spans.
        metrics: Whether to write metrics.
        tracer_provider: Where spans go; None: the global one.
        meter_provider: Where metrics go; None: the global one.
    """

    traces: bool = True
    metrics: bool = True
    tracer_provider: trace.TracerProvider | None = attrs.field(default=None, kw_only=True)
    meter_provider: MeterProvider | None = attrs.field(default=None, kw_only=True)
    _tracer: trace.Tracer = attrs.field(init=False)
    _instruments: _Instruments = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        # Until the program sets a provider up, the global ones stand in for it.
        self._tracer = trace.get_tracer(_NAME, __version__, self.tracer_provider)
        meter = get_meter(_NAME, __version__, self.meter_provider)
        self._instruments = _Instruments.of(meter)

    @hookimpl
    def resolve_trace_context(self, name: str, instance_id: str) -> TraceContext | None:
        """Begin a trace, or go on with the caller's, by a span for the start."""
        if not self.traces:
            return None
        attributes = {"durableflow.orchestrator": name, "durableflow.instance_id": instance_id}
        kind = trace.SpanKind.PRODUCER
        with self._tracer.start_as_current_span(
            f"start {name}", kind=kind, attributes=attributes
        ) as span:
            carrier: dict[str, str] = {}
            _PROPAGATOR.inject(carrier, trace.set_span_in_context(span))
        if "traceparent" not in carrier:
            return None
        return TraceContext(carrier["traceparent"], carrier.get("tracestate", ""))

    @hookimpl
    def turn_finished(self, turn: TurnFinished) -> None:
        """Count the turn, and write the span of an orchestration that has ended."""
        if self.metrics:
            self._instruments.turn(turn)
        if self.traces and turn.trace is not None and turn.outcome in _ENDS:
            self._write_orchestration(turn)

    @hookimpl
    def activity_started(self, activity: ActivityStarted) -> None:
        """Begin the span of an attempt; what the activity does belongs to it."""
        if not self.traces or activity.trace is None:
            return
        span = self._tracer.start_span(
            f"activity {activity.name}",
            context=_context_of(activity.trace),
            kind=trace.SpanKind.CONSUMER,
            attributes={
                "durableflow.activity": activity.name,
                "durableflow.version": activity.version or "",
                "durableflow.instance_id": activity.instance_id,
                "durableflow.task_id": activity.task_id,
                "durableflow.attempt": activity.attempt,
            },
        )
        _running.set((span, context.attach(trace.set_span_in_context(span))))

    @hookimpl
    def activity_finished(self, activity: ActivityFinished) -> None:
        """End the span, and count the attempt."""
        if self.metrics:
            self._instruments.activity(activity)
        running = _running.get()
        if running is None:
            return
        _running.set(None)
        span, token = running
        context.detach(token)
        if activity.failure is not None:
            reason = f"{activity.failure.error_type}: {activity.failure.message}"
            span.set_status(trace.StatusCode.ERROR, reason)
        span.end()

    def _write_orchestration(self, turn: TurnFinished) -> None:
        tracer = trace.get_tracer(_NAME, __version__, self.tracer_provider)
        if turn.trace is None or not hasattr(tracer, "id_generator"):
            return  # nothing but the API is there, which writes nothing
        # A tracer of our own, so that this span alone gets the id that the others know it by.
        tracer = copy(tracer)
        tracer.id_generator = _Given(int(turn.trace.own.span_id, 16), tracer.id_generator)
        span = tracer.start_span(
            f"orchestration {turn.name}",
            context=_context_of(turn.trace.parent),
            kind=trace.SpanKind.SERVER,
            start_time=int(turn.started_at.timestamp() * 1e9),
            attributes={
                "durableflow.orchestrator": turn.name,
                "durableflow.version": turn.version or "",
                "durableflow.instance_id": turn.instance_id,
                "durableflow.execution_id": turn.execution_id,
                "durableflow.outcome": turn.outcome,
            },
        )
        if turn.outcome == "failed":
            span.set_status(trace.StatusCode.ERROR, turn.reason)
        span.end()


@attrs.frozen
class _Instruments:
    """What is counted and measured."""

    turns: Counter
    turn_seconds: Histogram
    replayed_events: Counter
    activities: Counter
    activity_seconds: Histogram

    @classmethod
    def of(cls, meter: Meter) -> _Instruments:
        return cls(
            meter.create_counter("durableflow.turns", "{turn}", "Turns of orchestrations"),
            meter.create_histogram("durableflow.turn.duration", "s", "How long turns take"),
            meter.create_counter(
                "durableflow.replayed_events", "{event}", "Events that were gone through again"
            ),
            meter.create_counter("durableflow.activities", "{attempt}", "Attempts of activities"),
            meter.create_histogram(
                "durableflow.activity.duration", "s", "How long attempts of activities take"
            ),
        )

    def turn(self, turn: TurnFinished) -> None:
        orchestrator = {
            "durableflow.orchestrator": turn.name,
            "durableflow.version": turn.version or "",
        }
        self.turns.add(1, {**orchestrator, "durableflow.outcome": turn.outcome})
        self.turn_seconds.record(turn.seconds, orchestrator)
        if turn.replayed_events:
            self.replayed_events.add(turn.replayed_events, orchestrator)

    def activity(self, activity: ActivityFinished) -> None:
        attributes = {
            "durableflow.activity": activity.started.name,
            "durableflow.outcome": "completed" if activity.failure is None else "failed",
        }
        self.activities.add(1, attributes)
        self.activity_seconds.record(activity.seconds, attributes)


@attrs.frozen
class _Given:
    """Generates one id that is known, in place of a random one."""

    span_id: int
    others: Any

    def generate_span_id(self) -> int:
        return self.span_id

    def __getattr__(self, name: str) -> Any:
        return getattr(self.others, name)


def _context_of(parent: TraceContext) -> context.Context:
    carrier = {"traceparent": parent.traceparent}
    if parent.tracestate:
        carrier["tracestate"] = parent.tracestate
    return _PROPAGATOR.extract(carrier)
