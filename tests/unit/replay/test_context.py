"""What the context tells an orchestrator."""

from __future__ import annotations

import logging
from datetime import UTC
from typing import Any

import pytest

from durableflow import Version
from durableflow.replay import Orchestration, OrchestrationContext
from tests.unit.replay.histories import (
    Bench,
    completed,
    result_of,
    scheduled,
    started,
    turn_started,
    turns,
)
from tests.unit.replay.orchestrators import (
    ping,
)


def test_the_context_knows_its_orchestration(bench: Bench):
    seen: dict[str, Any] = {}

    def order(ctx: OrchestrationContext) -> None:
        seen.update(
            instance_id=ctx.instance_id,
            name=ctx.name,
            version=ctx.version,
            parent=ctx.parent_instance_id,
        )

    bench.run(order, started("as_started", version="10.0.0", instance_id="i7", parent="p1"))

    assert seen == {
        "instance_id": "i7",
        "name": "as_started",
        "version": Version("10.0.0"),
        "parent": "p1",
    }
    assert seen["version"] > "9.0.0"


def test_without_a_version_the_version_is_false(bench: Bench):
    def order(ctx: OrchestrationContext) -> list[Any]:
        return [bool(ctx.version), isinstance(ctx.version, str), ctx.parent_instance_id]

    assert result_of(bench.run(order, started())) == [False, True, None]


def test_uuids_are_the_same_in_each_replay_and_differ_from_one_another(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[list[str]]:
        ids = [ctx.new_uuid(), ctx.new_uuid()]
        yield ctx.call_activity(ping)
        return [*ids, ctx.new_uuid()]

    def ids_of(execution_id: str) -> list[str]:
        past = turns([started(execution_id=execution_id), scheduled(1, "ping")])
        ids: list[str] = result_of(bench.run(order, completed(1), past=past))
        return ids

    assert ids_of("e1") == ids_of("e1")
    assert len({*ids_of("e1"), *ids_of("e2")}) == 6


def test_replaying_ends_with_the_first_new_event(bench: Bench):
    seen = []

    def order(ctx: OrchestrationContext) -> Orchestration[None]:
        seen.append(ctx.is_replaying)
        yield ctx.call_activity(ping)
        seen.append(ctx.is_replaying)
        yield ctx.call_activity(ping)
        seen.append(ctx.is_replaying)

    past = turns([started(), scheduled(1, "ping")], [completed(1), scheduled(2, "ping")])
    bench.run(order, completed(2), past=past)

    assert seen == [True, True, False]


def test_the_custom_status_is_stated_in_each_turn_and_can_be_cleared(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[None]:
        ctx.set_custom_status({"step": 1})
        yield ctx.call_activity(ping)
        yield ctx.call_activity(ping)
        ctx.set_custom_status(None)

    session = bench.session(order)
    batches = [[started()], [completed(1)], [completed(2)]]
    statuses = [session.turn([], [turn_started(), *batch]).custom_status for batch in batches]

    assert statuses == ['{"step":1}', '{"step":1}', None]


def test_a_replay_safe_logger_is_silent_while_replaying(
    bench: Bench, caplog: pytest.LogCaptureFixture
):
    def order(ctx: OrchestrationContext) -> Orchestration[None]:
        logger = ctx.create_replay_safe_logger(logging.getLogger("shop"))
        logger.info("before", extra={"customer": 7})
        yield ctx.call_activity(ping)
        logger.info("after", extra={"customer": 7})

    caplog.set_level(logging.INFO, "shop")
    bench.run(order, completed(1), past=turns([started(), scheduled(1, "ping")]))

    (record,) = [r for r in caplog.records if r.name == "shop"]
    assert (record.getMessage(), record.instance_id, record.customer) == ("after", "a1", 7)
    assert record.filename == "test_context.py"


def test_the_time_zone_is_utc(bench: Bench):
    def order(ctx: OrchestrationContext) -> bool:
        return ctx.current_utc_datetime.tzinfo is UTC

    assert result_of(bench.run(order, started())) is True
