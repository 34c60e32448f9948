"""Finding out why an instance lets somebody wait longer than they meant to: ``reason_of``."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

from durableflow._proto import task_hub_pb2 as pb
from durableflow.client.core import ClientCore
from durableflow.client.models import OrchestrationState, OrchestrationStatus
from durableflow.client.outstanding import Outstanding, outstanding
from durableflow.client.takers import find_takers
from durableflow.client.waiting import why_not_yet
from durableflow.errors import OperationalError

Look: TypeAlias = Callable[[], Awaitable[OrchestrationState[Any]]]
ReadHistory: TypeAlias = Callable[[], Awaitable[list[pb.HistoryEvent]]]

EXPLAIN_SECONDS: Final = 2.0
"""How long each look may take that tells why a wait has timed out."""

_LOOK_AGAIN_SECONDS: Final = 0.1


async def reason_of(
    state: OrchestrationState[Any], core: ClientCore, look: Look, read_history: ReadHistory
) -> str:
    """Say what an unfinished instance waits for.

    One whose execution has made no turn is looked at again after a moment: it may be about to make
    its turn, or continue as new without end.

    Args:
        look: Reads the state anew.
        read_history: Reads the history of the current execution.
    """
    waits_for: Outstanding | None = None
    continues = False
    if state.runtime_status is OrchestrationStatus.RUNNING:
        with contextlib.suppress(OperationalError):  # it is a help, and no more
            waits_for = outstanding(await read_history())
            if not waits_for.has_begun:
                await asyncio.sleep(_LOOK_AGAIN_SECONDS)
                later = await look()
                continues = later.execution_id != state.execution_id
    takers = await find_takers(core.hub, state, waits_for or Outstanding(), EXPLAIN_SECONDS)
    return why_not_yet(state, core, waits_for, takers, continues=continues)
