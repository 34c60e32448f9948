"""Many calls of one activity, a limited number at a time: ``MapTask``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from durableflow.errors import OrchestratorError
from durableflow.replay import misuse
from durableflow.replay.journal import Journal
from durableflow.replay.sources import Origin
from durableflow.replay.tasks import Deferred


def check_items(items: object) -> None:
    """Refuse what cannot be gone through now.

    Raises:
        OrchestratorError: it is a task, whose result may be meant, or no collection at all.
    """
    if isinstance(items, Deferred):
        raise OrchestratorError(misuse.iterated(items.what))
    if not isinstance(items, Iterable):
        raise OrchestratorError(misuse.not_items(items))


class MapTask(Deferred[list[Any]]):
    """Calls an activity for each input, and ends with the results in the order of the inputs.

    The next call is made when one ends, while the history is gone through.  Nothing else stands in
    the history than the calls and their results.

    Args:
        inputs: As JSON.
        call: Makes the call for an input.
        limit: How many calls may be outstanding; at least 1.
    """

    __slots__ = ("_call", "_left", "_missing", "_results")

    def __init__(
        self,
        journal: Journal,
        what: str,
        origin: Origin,
        *,
        inputs: Sequence[str | None],
        call: Callable[[str | None], Deferred[Any]],
        limit: int,
    ) -> None:
        super().__init__(journal, f"{what} for each of {len(inputs)} items", origin)
        self._call = call
        self._left = enumerate(inputs)
        self._missing = len(inputs)
        self._results: list[Any] = [None] * len(inputs)
        if not inputs:
            self.settle([])
        for _ in range(min(limit, len(inputs))):
            self._call_next()

    def _call_next(self) -> None:
        for index, text in self._left:
            self._call(text).watch(partial(self._call_ended, index))
            return

    def _call_ended(self, index: int, call: Deferred[Any]) -> None:
        if self.has_ended:
            return
        value, failure = call.outcome()
        if failure is not None:
            failure.add_note(f"This was item {index} of {len(self._results)}, counted from 0.")
            self.fail(failure)
            return
        self._results[index] = value
        self._missing -= 1
        if self._missing == 0:
            self.settle(self._results)
        else:
            self._call_next()
