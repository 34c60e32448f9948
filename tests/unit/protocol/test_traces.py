"""Where in a trace something belongs, as the protocol carries it."""

from __future__ import annotations

import pytest

from durableflow._proto import task_hub_pb2 as pb
from durableflow.protocol.traces import TraceContext, give_parent

PARENT = TraceContext("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "vendor=1")


@pytest.mark.parametrize("context", [PARENT, TraceContext(PARENT.traceparent)])
def test_a_context_survives_the_protocol(context: TraceContext):
    assert TraceContext.of(context.to_message()) == context
    assert context.to_message().spanID == "b7ad6b7169203331"


@pytest.mark.parametrize("text", ["", "00-abc-def-01", PARENT.traceparent.upper(), "x"])
def test_what_is_no_traceparent_counts_as_none(text: str):
    assert TraceContext.of(pb.TraceContext(traceParent=text)) is None


def test_the_span_of_an_orchestration_is_the_same_wherever_it_is_asked_for():
    own = PARENT.orchestration("a", "e1")

    assert own == PARENT.orchestration("a", "e1")
    assert own.traceparent.split("-")[1] == PARENT.traceparent.split("-")[1]
    assert own.traceparent.endswith("-01")
    assert own.tracestate == "vendor=1"
    others = [PARENT.orchestration("a", "e2"), PARENT.orchestration("b", "e1"), PARENT]
    assert own.span_id not in {other.span_id for other in others}


def test_activities_and_children_get_their_parent_and_nothing_else_does():
    actions = [pb.OrchestratorAction(id=n) for n in (1, 2, 3)]
    actions[0].scheduleTask.name = "charge"
    actions[1].createSubOrchestration.name = "pack"
    actions[2].createTimer.SetInParent()

    give_parent(actions, PARENT)

    assert TraceContext.of(actions[0].scheduleTask.parentTraceContext) == PARENT
    assert TraceContext.of(actions[1].createSubOrchestration.parentTraceContext) == PARENT
