"""Runs an orchestrator's code between one wait and the next: ``Executor``.

A generator and a coroutine are the same to it: both are driven by ``send`` and ``throw``, and what
they hand out is the task that they wait for.
"""

from __future__ import annotations

import logging
from collections.abc import Coroutine, Generator
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from durableflow._proto import task_hub_pb2 as pb
from durableflow.errors import ConversionError, OrchestratorError, SetupError, UsageError
from durableflow.protocol.actions import complete_orchestration, continue_as_new
from durableflow.protocol.failures import FailureDetails, from_exception
from durableflow.registry import ABSENT, OrchestratorDefinition
from durableflow.replay import closing, misuse
from durableflow.replay.journal import Journal
from durableflow.replay.tasks import Deferred

if TYPE_CHECKING:
    from durableflow.replay.context import OrchestrationContext
    from durableflow.replay.record import Record
    from durableflow.replay.retries import Retries

logger = logging.getLogger(__name__)

MOST_STEPS: Final = 10_000


@frozen
class Completion:
    """How an execution ends."""

    status: pb.OrchestrationStatus
    result: str | None = None
    failure: FailureDetails | None = None

    def action(self, journal: Journal) -> pb.OrchestratorAction:
        """Make the message that ends it."""
        number, continuation = journal.last_id + 1, journal.continuation
        if self.status == pb.ORCHESTRATION_STATUS_CONTINUED_AS_NEW and continuation is not None:
            return continue_as_new(
                number,
                continuation.input,
                version=continuation.version,
                carryover=journal.carryover(),
            )
        return complete_orchestration(number, self.status, result=self.result, failure=self.failure)


class Executor:
    """The code of one execution.

    Attributes:
        running: The generator or coroutine; None before it starts and for a plain function.
        awaited: The task that it waits for, None if it does not.
        completion: How it ended, None if it goes on.
    """

    def __init__(
        self,
        definition: OrchestratorDefinition,
        journal: Journal,
        context: OrchestrationContext,
        *,
        record: Record,
        retries: Retries,
    ) -> None:
        self.definition = definition
        self.journal = journal
        self.context = context
        self.record = record
        self.retries = retries
        self.running: Any = None
        self.awaited: Deferred[Any] | None = None
        self.completion: Completion | None = None

    def start(self, text: str | None) -> None:
        """Call the function with its input, and run to the first wait."""
        try:
            result = self._call(text)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 -- whatever user code raises, SystemExit too, ends its own instance and not the worker
            self.fail(misuse.explained(error))
            return
        if isinstance(result, Generator | Coroutine):
            self.running = result
            self.advance()
        else:
            self._finish(result)

    def advance(self) -> None:
        """Hand over the result of the awaited task, and run to the next wait or the end."""
        journal, send = self.journal, self.running.send
        task, self.awaited = self.awaited, None
        value, error = (None, None) if task is None else task.outcome()
        # Fewer steps than there are events always come to an end: each awaits something new.
        for _ in range(MOST_STEPS + journal.position):
            journal.resumptions += 1
            try:
                if error is None:
                    yielded = send(value)
                else:
                    yielded = self.running.throw(error.with_traceback(None))
            except StopIteration as stop:
                self._finish(stop.value)
                return
            except KeyboardInterrupt:
                raise
            except BaseException as failure:  # noqa: BLE001 -- see start
                self.fail(misuse.explained(failure))
                return
            if isinstance(yielded, Deferred) and (
                yielded.journal is journal or yielded.journal is None
            ):
                journal.unawaited.pop(yielded, None)
                if yielded.is_complete:
                    value, error = yielded.outcome()
                    continue
                if journal.continuation is None:
                    self.awaited = yielded
                    return
            error = OrchestratorError(self._why_refused(yielded))
        self.fail(OrchestratorError(misuse.yields_in_a_loop(self.running, MOST_STEPS)))

    def terminate(self, output: str | None) -> None:
        """End as the task hub demands."""
        self._complete(Completion(pb.ORCHESTRATION_STATUS_TERMINATED, output))

    def fail(self, error: BaseException) -> None:
        """End with a failure."""
        misuse.note_forgotten(error, self.journal.unawaited, self._keyword)
        # What only another program can mend is not worth a retry by a parent.
        failure = from_exception(error, non_retriable=isinstance(error, SetupError | UsageError))
        self._complete(Completion(pb.ORCHESTRATION_STATUS_FAILED, failure=failure))

    def close(self) -> None:
        """Run what the code does when it is abandoned: ``finally`` and ``with`` blocks.

        It may not wait there; code that does is resumed and abandoned again, a few times.
        """
        running, self.running = self.running, None
        self.awaited = None
        if running is None:
            return
        with closing.python_silenced() as ignored:
            problem = closing.close(running)
            del running  # the last reference: this is where Python frees it
        words = closing.warning(problem, ignored)
        if words is not None:
            logger.warning(
                "Orchestrator '%s', instance '%s': %s",
                self.definition.name,
                self.journal.instance_id,
                words,
            )

    @property
    def _keyword(self) -> str:
        """What this orchestrator waits with."""
        return "await" if isinstance(self.running, Coroutine) else "yield"

    def _call(self, text: str | None) -> Any:
        definition = self.definition
        parameter = definition.input
        if parameter is None:
            return definition.function(self.context)
        if not text:  # "" is no JSON; engines that do not keep presence send it
            value = parameter.when_absent()
            if value is ABSENT:
                raise ConversionError(misuse.input_missing(definition.label, parameter.type))
        else:
            self.journal.payload_characters += len(text)
            where = f"input of orchestrator '{definition.name}'"
            value = self.journal.converter.loads(text, parameter.type, where=where)
        return definition.function(self.context, value)

    def _why_refused(self, yielded: Any) -> str:
        """Say why the code must not wait for what it handed out."""
        continuation = self.journal.continuation
        if not isinstance(yielded, Deferred):
            return misuse.not_a_task(yielded, self.running)
        if yielded.journal not in (self.journal, None) or continuation is None:
            return misuse.another_context(yielded.what, self.running)
        return misuse.after_continue_as_new(continuation.origin)

    def _finish(self, value: Any) -> None:
        definition = self.definition
        if isinstance(value, Deferred):
            self.fail(OrchestratorError(misuse.returned_task(value.what, self._keyword)))
            return
        if isinstance(value, Generator | Coroutine):
            self.fail(OrchestratorError(misuse.returned_unrun(value)))
            return
        if self.journal.continuation is not None:
            completion = Completion(pb.ORCHESTRATION_STATUS_CONTINUED_AS_NEW)
        else:
            where = f"output of orchestrator '{definition.name}'"
            try:
                result = self.journal.converter.dumps(value, definition.output_type, where=where)
            except Exception as error:  # noqa: BLE001 -- converting runs user code as well
                self.fail(error)
                return
            completion = Completion(pb.ORCHESTRATION_STATUS_COMPLETED, result)
        self._complete(completion)
        if self.journal.unawaited and not self.journal.is_silent:
            logger.warning(
                "Orchestrator '%s', instance '%s', finished without waiting for: %s. Activities and "
                "sub-orchestrations among these run all the same, and nobody learns of their "
                "results and failures. Put `%s` before what it should wait for.",
                definition.name,
                self.journal.instance_id,
                misuse.never_awaited(self.journal.unawaited),
                self._keyword,
            )

    def _complete(self, completion: Completion) -> None:
        self.awaited = None
        self.completion = completion
        self.journal.end()
