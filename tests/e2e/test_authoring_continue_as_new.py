"""Starting over with another input: eternal orchestrations, and the events that they must not lose."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from durableflow import (
    App,
    Client,
    Orchestration,
    OrchestrationContext,
    OrchestrationFailedError,
    OrchestrationStatus,
    WaitTimeoutError,
    when_any,
)
from tests.e2e.watching import SECONDS, output, until, until_status

pytestmark = pytest.mark.e2e

app = App("authoring_continue_as_new")


class Progress(NamedTuple):
    left: int
    seen: list[Any] = []  # noqa: RUF012 -- the default of an immutable tuple, never changed


@app.activity
def echo(value: Any) -> Any:
    return value


@app.activity
async def decrement(value: int) -> int:
    return value - 1


@app.orchestrator
def count_down(ctx: OrchestrationContext, left: int) -> Orchestration[str | None]:
    left = yield ctx.call_activity(decrement, input=left)
    ctx.set_custom_status(f"{left} left")
    if left == 0:
        return "lift-off"
    ctx.continue_as_new(left)
    return None


@app.orchestrator
async def collect(ctx: OrchestrationContext, progress: Progress) -> list[Any] | None:
    """Take one event in each execution."""
    if progress.left == 0:
        return progress.seen
    event = await ctx.wait_for_external_event("event")
    ctx.continue_as_new(Progress(progress.left - 1, [*progress.seen, event]))
    return None


@app.orchestrator
async def forget(ctx: OrchestrationContext, generation: int) -> str | None:
    if generation == 1:
        await ctx.wait_for_external_event("go")
        ctx.continue_as_new(2, save_events=False)
        return None
    late = ctx.wait_for_external_event("early")
    timer = ctx.create_timer(0.05)
    winner: Any = await when_any([late, timer])
    return "kept" if winner is late else "forgotten"


@app.orchestrator(name="upgrade", version="1.0.0")
async def upgrade_v1(ctx: OrchestrationContext, text: str) -> str | None:
    ctx.continue_as_new(f"{text} → {ctx.version}", new_version="2.0.0")
    return None


@app.orchestrator(version="2.0.0")
async def upgrade(ctx: OrchestrationContext, text: str) -> str:
    return f"{text} → {ctx.version}"


@app.orchestrator
async def leaves_everything_behind(ctx: OrchestrationContext, generation: int) -> str | None:
    """What the first execution leaves has the numbers of what the second one asks for."""
    if generation == 1:
        ctx.call_activity(echo, input="of the first")
        ctx.create_timer(0.02)
        ctx.wait_for_external_event("never")
        ctx.continue_as_new(2)
        return None
    answers = [await ctx.call_activity(echo, input="of the second")]
    before = ctx.current_utc_datetime
    await ctx.create_timer(0.3)
    slept = (ctx.current_utc_datetime - before).total_seconds()
    return f"{answers}, slept {'well' if slept >= 0.3 else slept}"


@app.orchestrator
async def child(ctx: OrchestrationContext, generation: int) -> str | None:
    if generation < 3:
        ctx.continue_as_new(generation + 1)
        return None
    return f"generation {generation} of a child of {ctx.parent_instance_id}"


@app.orchestrator
async def parent(ctx: OrchestrationContext, generation: int) -> list[Any] | None:
    """Each execution has a child without an id of its own."""
    result = await ctx.call_sub_orchestrator(child, input=1)
    if generation < 3:
        ctx.continue_as_new(generation + 1)
        return None
    return [generation, result]


@app.orchestrator
async def goes_on_without_input(ctx: OrchestrationContext, first: bool = False) -> str | None:
    if first:
        ctx.continue_as_new()
        return None
    return "default"


@app.orchestrator
async def asks_after_it(ctx: OrchestrationContext, n: int) -> None:
    ctx.continue_as_new(n + 1)
    await ctx.call_activity(echo, input=n)


@app.orchestrator
def waits_after_it(ctx: OrchestrationContext, n: int) -> Orchestration[None]:
    timer = ctx.create_timer(60)
    ctx.continue_as_new(n + 1)
    yield timer


@app.orchestrator
async def raises_after_it(ctx: OrchestrationContext, n: int) -> None:
    ctx.continue_as_new(n + 1)
    raise ValueError("after all")


@app.orchestrator
async def goes_on_with_the_wrong_type(ctx: OrchestrationContext, n: int) -> None:
    ctx.continue_as_new("many")


@app.orchestrator
def never_rests(ctx: OrchestrationContext, n: int) -> None:
    ctx.continue_as_new(n + 1)


@pytest.fixture(scope="module")
def client(task_hub: str) -> Iterator[Client]:
    with app.running(task_hub=task_hub) as client:
        yield client


def test_a_hundred_executions_leave_a_short_history_and_one_result(client: Client):
    instance = client.schedule_new_orchestration(count_down, input=100, tags={"team": "x"})

    state = client.wait_for_orchestration_completion(instance, timeout=SECONDS)

    assert state.get_output() == "lift-off"
    assert state.get_input() == 1
    assert state.get_custom_status() == "0 left"
    assert dict(state.tags) == {"team": "x"}
    assert len(client.get_orchestration_history(instance)) < 12


def test_clients_never_see_that_an_instance_continued(client: Client):
    instance = client.schedule_new_orchestration(count_down, input=50)
    seen = set()

    def note(state: Any) -> bool:
        seen.add(state.runtime_status)
        return bool(state.is_terminal)

    until(client, instance, note)

    assert OrchestrationStatus.CONTINUED_AS_NEW not in seen


def test_no_event_is_lost_between_executions_and_none_is_doubled(client: Client):
    instance = client.schedule_new_orchestration(collect, input=Progress(50))
    for number in range(50):
        client.raise_orchestration_event(instance, "event", data=number)

    assert output(client, instance) == list(range(50))


def test_events_can_be_dropped(client: Client):
    instance = client.schedule_new_orchestration(forget, input=1)
    client.raise_orchestration_event(instance, "early")
    client.raise_orchestration_event(instance, "go")

    assert output(client, instance) == "forgotten"


def test_an_instance_can_go_on_with_another_version(client: Client):
    instance = client.schedule_new_orchestration(upgrade_v1, input="start")

    state = client.wait_for_orchestration_completion(instance, timeout=SECONDS)

    assert state.get_output() == "start → 1.0.0 → 2.0.0"
    assert state.version == "2.0.0"


def test_what_an_execution_leaves_behind_does_not_reach_the_next(client: Client):
    words = client.run_orchestration(leaves_everything_behind, input=1, timeout=SECONDS)

    assert words == "['of the second'], slept well"


def test_children_continue_and_parents_have_new_ones(client: Client):
    instance = client.schedule_new_orchestration(parent, input=1)

    assert output(client, instance) == [3, f"generation 3 of a child of {instance}"]


def test_an_input_can_be_left_out(client: Client):
    assert client.run_orchestration(goes_on_without_input, input=True, timeout=SECONDS) == "default"


def test_a_suspended_eternal_orchestration_goes_on_after_the_resume(client: Client):
    instance = client.schedule_new_orchestration(collect, input=Progress(2))
    client.raise_orchestration_event(instance, "event", data=1)
    until(client, instance, lambda state: state.get_input(Progress).left == 1)
    client.suspend_orchestration(instance)
    until_status(client, instance, OrchestrationStatus.SUSPENDED)
    client.raise_orchestration_event(instance, "event", data=2)
    client.resume_orchestration(instance)

    assert output(client, instance) == [1, 2]


def test_an_eternal_orchestration_can_be_terminated(client: Client):
    instance = client.schedule_new_orchestration(count_down, input=1_000_000)
    until(client, instance, lambda state: state.serialized_custom_status)
    client.terminate_orchestration(instance, output="enough")

    until_status(client, instance, OrchestrationStatus.TERMINATED)


def test_one_that_never_rests_is_told_so_and_starves_nobody(
    task_hub: str, caplog: pytest.LogCaptureFixture
):
    narrow = App("narrow", max_concurrent_orchestrations=1)
    narrow.add_orchestrator(never_rests)
    narrow.add_orchestrator(count_down)
    narrow.add_activity(decrement)
    with narrow.running(task_hub=task_hub) as client:
        endless = [client.schedule_new_orchestration(never_rests, input=1) for _ in range(3)]
        for instance in endless:
            until(client, instance, lambda state: state.get_input() > 200)
        others = [client.schedule_new_orchestration(count_down, input=3) for _ in range(5)]
        results = [output(client, other) for other in others]
        with pytest.raises(
            WaitTimeoutError, match=r"RUNNING: (it continues as new|since .* its next turn)"
        ):
            client.wait_for_orchestration_completion(endless[0], timeout=0.1)
        for instance in endless:
            client.terminate_orchestration(instance)

    assert results == ["lift-off"] * 5
    warnings = [record.getMessage() for record in caplog.records]
    for instance in endless:
        (warning,) = [text for text in warnings if instance in text]
        assert "Orchestrator 'never_rests'" in warning
        assert "100 times in a row without waiting for anything" in warning


@pytest.mark.parametrize(
    ("orchestrator", "words"),
    [
        (asks_after_it, "Return from the orchestrator right after"),
        (waits_after_it, "Return from the orchestrator right after"),
        (raises_after_it, "after all"),
        (goes_on_with_the_wrong_type, "expected int, got str"),
    ],
)
def test_misuse_fails_the_instance_in_words(client: Client, orchestrator: Any, words: str):
    with pytest.raises(OrchestrationFailedError, match=words):
        client.run_orchestration(orchestrator, input=1, timeout=SECONDS)
