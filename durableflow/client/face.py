"""What both clients share: where they may be called, and that a closed one is not called at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from durableflow.client.core import ClientCore
from durableflow.client.operations import Operations
from durableflow.errors import OrchestratorError, UsageError
from durableflow.hub.running_turn import in_turn


@contextmanager
def undone_on_failure(undo: Callable[[], None]) -> Iterator[None]:
    """Call ``undo`` if the block fails."""
    try:
        yield
    except BaseException:
        undo()
        raise


class Face:
    """The common part of ``Client`` and ``AsyncClient``."""

    def __init__(self, core: ClientCore) -> None:
        self._core = core
        self._all_operations = Operations(core)
        self._closed = False

    def __repr__(self) -> str:
        state = "closed" if self._closed else "on"
        return f"<{type(self).__name__} {state} {self._core.hub.description}>"

    @property
    def _operations(self) -> Operations:
        """The operations, if this client may be called now."""
        self._check()
        return self._all_operations

    def _check(self) -> None:
        """Refuse calls that would do harm or go nowhere.

        Raises:
            OrchestratorError: the caller is an orchestrator.
            UsageError: the client is closed.
        """
        if in_turn():
            raise OrchestratorError(
                "An orchestrator called a client. It is replayed from its history, and every "
                "replay would repeat the call. Use ctx.call_sub_orchestrator and its like, or "
                "call the client in an activity."
            )
        if self._closed:
            raise UsageError("This client is closed. Make another with app.client().")
