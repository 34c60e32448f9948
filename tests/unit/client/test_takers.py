from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from durableflow._proto import task_hub_pb2 as pb
from durableflow.client import ClientCore, OrchestrationState
from durableflow.client.outstanding import Outstanding
from durableflow.client.replies import state_of
from durableflow.client.takers import Takers, find_takers
from durableflow.errors import CallError
from durableflow.protocol.status import Status

WAITS_FOR = Outstanding(activities=(("charge", ""), ("charge", "2")))


class KnowingHub:
    """Takes the activity without a version, and the orchestrator."""

    async def taken(
        self, work: pb.WorkItemFilters, *, timeout: float | None = None
    ) -> pb.WorkItemFilters:
        for each in work.activities:
            if "" not in each.versions:
                each.ClearField("versions")
        return work


class SilentHub:
    async def taken(self, work: pb.WorkItemFilters, *, timeout: float | None = None) -> Any:
        raise CallError(Status.UNAVAILABLE, "no answer")


@pytest.fixture
def state(
    core: ClientCore, state_message: Callable[..., pb.OrchestrationState]
) -> OrchestrationState[Any]:
    return state_of(state_message("RUNNING"), core.converter)


async def test_a_hub_says_what_is_taken(state: OrchestrationState[Any]) -> None:
    takers = await find_takers(KnowingHub(), state, WAITS_FOR, 1)  # type: ignore[arg-type] # a part

    assert takers.run_orchestrator("order", "") is True
    assert takers.run_activity("charge", "") is True
    assert takers.run_activity("charge", "2") is False


@pytest.mark.parametrize("hub", [object(), SilentHub()], ids=["cannot tell", "does not answer"])
async def test_what_a_hub_does_not_say_is_not_known(
    state: OrchestrationState[Any], hub: Any
) -> None:
    takers = await find_takers(hub, state, WAITS_FOR, 1)

    assert takers == Takers()
    assert takers.run_orchestrator("order", "") is None
    assert takers.run_activity("charge", "") is None
