"""An orchestrator between its turns: ``Session``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from attrs import frozen

from durableflow._proto import task_hub_pb2 as pb
from durableflow.converter import Converter
from durableflow.errors import NonDeterminismError, OrchestratorError
from durableflow.registry import OrchestratorDefinition
from durableflow.replay import misuse
from durableflow.replay.callees import Callees
from durableflow.replay.context import OrchestrationContext
from durableflow.replay.determinism import Diverged, doing
from durableflow.replay.executor import Executor
from durableflow.replay.handlers import feed
from durableflow.replay.journal import Journal
from durableflow.replay.record import Record
from durableflow.replay.requests import Request
from durableflow.replay.retries import Retries

_BYTES_PER_EVENT: Final = 150


@frozen
class Turn:
    """What an orchestrator wants after a turn.

    Attributes:
        actions: In the order in which it asked; the end of the orchestration comes last.
        custom_status: Its current value as JSON, None if there is none.
        finished: Whether the orchestration has ended.
    """

    actions: list[pb.OrchestratorAction]
    custom_status: str | None
    finished: bool


class Session:
    """A suspended orchestrator, which goes on when there are new events.

    Each turn runs user code in the caller's thread, and has no other effects.

    Args:
        definition: The code to run.
        converter: For inputs, results and events.
        callees: What it may call.
        fail_on_nondeterminism: End the orchestration when code and history do not fit; else the
            turn is ``Diverged``.

    Attributes:
        position: How many events the history has once the last turn is applied.
    """

    def __init__(
        self,
        definition: OrchestratorDefinition,
        *,
        converter: Converter,
        callees: Callees,
        fail_on_nondeterminism: bool = False,
    ) -> None:
        self._definition = definition
        self._converter = converter
        self._callees = callees
        self._fail_on_nondeterminism = fail_on_nondeterminism
        self.position = 0
        self._record = Record()
        self._retries = Retries(self._record)
        self._executor = self._new_executor()

    @property
    def history_bytes(self) -> int:
        """About how much history it has consumed, in bytes."""
        return self.position * _BYTES_PER_EVENT + self._executor.journal.payload_characters

    @property
    def doing(self) -> str:
        """What the code does now, for people: what it waits for and where, or that it has ended."""
        return doing(self._executor)

    @property
    def idle_only(self) -> bool:
        """Whether it waits only for what may take long: timers, external events, children."""
        return not self._executor.journal.calls

    def turn(
        self, past: Sequence[pb.HistoryEvent], new: Sequence[pb.HistoryEvent]
    ) -> Turn | Diverged:
        """Go through events until the code waits for something that they do not bring.

        Args:
            past: The whole history in the first turn; nothing in later ones.
            new: What has happened since.
        """
        diverged = self._feed(past, new) if self.position else self._begin(past, new)
        if diverged is not None:
            if not self._fail_on_nondeterminism:
                return diverged
            self._executor.journal.take_requests()
            self._executor.fail(NonDeterminismError(diverged.reason))
        return self._end_turn(len(past) + len(new))

    def close(self) -> None:
        """Abandon the code; its ``finally`` and ``with`` blocks run, without any effects on it."""
        self._executor.journal.evicted = True
        self._executor.close()

    def _new_executor(self) -> Executor:
        journal = Journal(self._converter)
        context = OrchestrationContext(self._definition, journal, self._callees, self._record)
        return Executor(
            self._definition, journal, context, record=self._record, retries=self._retries
        )

    def _begin(
        self, past: Sequence[pb.HistoryEvent], new: Sequence[pb.HistoryEvent]
    ) -> Diverged | None:
        self._record.keep(past, new)
        first = diverged = self._feed(past, new)
        while diverged is not None and self._retries.revise():
            self.close()
            self._executor = self._new_executor()
            diverged = self._feed(past, new)
        self._record.forget()
        return diverged and first

    def _feed(
        self, past: Sequence[pb.HistoryEvent], new: Sequence[pb.HistoryEvent]
    ) -> Diverged | None:
        executor = self._executor
        journal = executor.journal
        journal.position = self.position
        journal.in_turn = True
        try:
            diverged = feed(executor, past)
            if diverged is not None:
                return diverged
            journal.replaying = False
            return feed(executor, new)
        finally:
            journal.in_turn = False

    def _end_turn(self, events: int) -> Turn:
        executor = self._executor
        journal = executor.journal
        actions = self._make_actions()
        # Each action is confirmed by an event, and orchestratorCompleted ends the turn.
        self.position += events + len(actions) + 1
        completion = executor.completion
        if completion is not None:
            self.position += 1
            actions.append(completion.action(journal))
        return Turn(actions, journal.custom_status, completion is not None)

    def _make_actions(self) -> list[pb.OrchestratorAction]:
        requests = self._executor.journal.take_requests()
        try:
            return [request.action() for request in requests]
        except (TypeError, ValueError):
            return list(self._actions_that_can_be_made(requests))

    def _actions_that_can_be_made(
        self, requests: Iterable[Request]
    ) -> Iterator[pb.OrchestratorAction]:
        """Leave out what no message can carry, and fail the orchestration that asked for it."""
        for request in requests:
            try:
                yield request.action()
            except (TypeError, ValueError) as error:
                words = misuse.not_sendable(str(request), request.origin, error)
                self._executor.fail(OrchestratorError(words))
