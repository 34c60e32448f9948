"""Stored histories against today's code: what fits, what does not, and what is no history."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict

from durableflow import App, Orchestration, OrchestrationContext
from durableflow._proto import task_hub_pb2 as pb
from durableflow.errors import NonDeterminismError, UsageError
from durableflow.testing import Replayed, export_history, read_history, replay, replay_each
from tests.histories import features
from tests.unit.replay.histories import (
    completed,
    raised,
    scheduled,
    started,
    terminated,
    timer_created,
    turns,
)

FOLDER = Path(features.__file__).parent
FILES = sorted(FOLDER.rglob("*.json"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(FOLDER)))
def test_every_stored_history_fits_for_ever(path: Path):
    replay(features.app, path)


def test_there_is_a_stored_history_of_each_feature():
    recorded = {read_history(path).beginning.name for path in FILES}

    assert recorded == {
        definition.name for definition in features.app.plan().registry.orchestrators()
    }


def ended(status: int = pb.ORCHESTRATION_STATUS_COMPLETED) -> pb.HistoryEvent:
    made = pb.HistoryEvent(eventId=-1)
    made.executionCompleted.orchestrationStatus = status
    return made


def saved(path: Path, events: list[pb.HistoryEvent]) -> Path:
    path.write_text(json.dumps({"events": [MessageToDict(event) for event in events]}))
    return path


@pytest.fixture
def problem(tmp_path: Path) -> Callable[..., str | None]:
    def problem(code: Any, *events: pb.HistoryEvent, version: str | None = None) -> str | None:
        app = App("orders", root=tmp_path)
        app.add_orchestrator(code, name="order", version=version)
        app.add_activity(charge)
        (done,) = replay_each(app, saved(tmp_path / "history.json", list(events)))
        return done.problem

    return problem


def charge() -> None: ...


def order(ctx: OrchestrationContext) -> Orchestration[str]:
    yield ctx.call_activity(charge)
    return "done"


WAITING = turns([started(), scheduled(1, "charge")])
DONE = [*WAITING, *turns([completed(1)]), ended()]


@pytest.mark.parametrize("history", [WAITING, DONE])
def test_code_that_does_what_the_history_says_fits(problem, history):
    assert problem(order, *history) is None


def test_another_call_is_told_with_both_sides(problem):
    def order(ctx: OrchestrationContext) -> Orchestration[None]:
        yield ctx.create_timer(5)

    text = problem(order, *WAITING)

    assert "scheduled activity 'charge'" in text
    assert "the code now creates a timer" in text
    assert "test_replaying.py:" in text


def test_one_call_more_at_the_end_is_told(problem):
    def order(ctx: OrchestrationContext) -> Orchestration[None]:
        ctx.create_timer(5)
        yield ctx.wait_for_external_event("go")

    text = problem(order, *turns([started()]))

    assert "the code now creates a timer" in text
    assert "test_replaying.py:" in text


def test_one_call_more_before_the_end_is_told(problem):
    def order(ctx: OrchestrationContext) -> Orchestration[None]:
        yield ctx.call_activity(charge)
        ctx.send_event("a", "done")

    assert "ends as COMPLETED, but before its end the code now also sends event 'done'" in problem(
        order, *DONE
    )


def test_code_that_goes_on_where_the_history_ends_is_told(problem):
    def order(ctx: OrchestrationContext) -> Orchestration[None]:
        yield ctx.call_activity(charge)
        yield ctx.wait_for_external_event("go")

    text = problem(order, *DONE)

    assert "ends as COMPLETED, but the code now waits for event 'go'" in text


def test_code_that_ends_where_the_history_goes_on_is_told(problem):
    def order(ctx: OrchestrationContext) -> None: ...

    assert "the code now finishes before that" in problem(order, *WAITING)


def test_code_that_fails_where_the_history_completes_is_told(problem):
    def order(ctx: OrchestrationContext) -> Orchestration[None]:
        yield ctx.call_activity(charge)
        raise ValueError("out of order")

    text = problem(order, *DONE)

    assert "but the code now ends as FAILED: builtins.ValueError: out of order" in text


def test_an_instance_that_was_terminated_fits_wherever_the_code_was(problem):
    end = ended(pb.ORCHESTRATION_STATUS_TERMINATED)

    assert problem(order, *WAITING, *turns([terminated()]), end) is None
    assert problem(order, *WAITING, end) is None


def test_another_result_of_the_same_steps_fits(problem):
    def order(ctx: OrchestrationContext) -> Orchestration[str]:
        yield ctx.call_activity(charge)
        return "another"

    assert problem(order, *DONE) is None


def test_a_history_of_a_version_that_nobody_runs_does_not_fit(problem):
    history = turns([started(version="1.0"), scheduled(1, "charge")])

    assert problem(order, *history, version="1.0") is None
    assert "No function of this worker runs version '1.0'" in problem(
        order, *history, version="2.0"
    )


def test_a_history_without_a_beginning_does_not_fit(problem):
    assert "no executionStarted event" in problem(order, *turns([raised("go")]))


# Sources


@pytest.fixture
def app(tmp_path: Path) -> App:
    app = App("orders", root=tmp_path)
    app.add_orchestrator(order)
    app.add_activity(charge)
    return app


def test_several_sources_are_told_one_by_one(app: App, tmp_path: Path):
    good, bad = (
        saved(tmp_path / "a.json", WAITING),
        saved(tmp_path / "b.json", turns([started(), timer_created(1)])),
    )

    first, second = replay_each(app, [good, bad])

    assert first == Replayed(
        source=str(good), orchestrator="orchestrator 'order'", events=4, problem=None
    )
    assert second.problem is not None
    with pytest.raises(NonDeterminismError, match=r"b\.json: .*created a timer") as caught:
        replay(app, tmp_path)
    assert "a.json" not in str(caught.value)


def test_the_history_that_a_client_returns_is_a_source(app: App):
    with app.running(task_hub="sqlite://") as client:
        instance_id = client.schedule_new_orchestration(order)
        client.wait_for_orchestration_completion(instance_id, timeout=30)
        history = client.get_orchestration_history(instance_id)

    replay(app, history)
    replay(app, [history, history])


def test_a_history_survives_the_way_through_a_file(app: App, tmp_path: Path):
    with app.running(task_hub="sqlite://") as client:
        instance_id = client.schedule_new_orchestration(order)
        client.wait_for_orchestration_completion(instance_id, timeout=30)
        history = client.get_orchestration_history(instance_id)
    path = tmp_path / "history.json"

    path.write_text(export_history(history))

    events = read_history(path).events
    assert [event.SerializeToString() for event in events] == [event.message for event in history]


@pytest.mark.parametrize(
    "write",
    [
        lambda events: json.dumps(events),
        lambda events: json.dumps({"events": events}),
        lambda events: "\n".join(json.dumps({"events": [event]}, indent=2) for event in events),
        lambda events: "\n".join(map(json.dumps, events)),
        lambda events: json.dumps([{**event, "newField": {"x": 1}} for event in events]),
    ],
    ids=["list", "chunk", "chunks", "lines", "fields that are newer"],
)
def test_a_file_may_hold_a_list_chunks_or_events(app: App, tmp_path: Path, write: Any):
    path = tmp_path / "history.json"

    path.write_text(write([MessageToDict(event) for event in WAITING]))

    assert list(read_history(path).events) == WAITING
    replay(app, path)


@pytest.mark.parametrize("text", ["{", "7", '[{"eventId": "x"}]', '{"events": 1}', "nonsense"])
def test_a_file_that_is_no_history_is_refused(tmp_path: Path, text: str):
    path = tmp_path / "history.json"
    path.write_text(text)

    with pytest.raises(UsageError, match="is no history"):
        read_history(path)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path):
    with pytest.raises(UsageError, match="cannot be read"):
        read_history(tmp_path / "nothing.json")


def test_a_folder_without_histories_is_refused(app: App, tmp_path: Path):
    with pytest.raises(UsageError, match="no history to replay"):
        replay(app, tmp_path)
