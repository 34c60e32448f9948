"""Tells the task hub how work ended, and does not rest until it knows: ``Completions``."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from random import SystemRandom
from typing import Final

from attrs import define

from durableflow.errors import CallError
from durableflow.hub.backoff import Backoff
from durableflow.protocol.status import Status

logger = logging.getLogger(__name__)

# What may succeed when it is tried again, on this connection or the next, or with the next token.
# Everything else means that nobody waits for this answer any more; engines without completion
# tokens say so with UNKNOWN.
TRANSIENT: Final = frozenset(
    {
        Status.UNAVAILABLE,
        Status.DEADLINE_EXCEEDED,
        Status.RESOURCE_EXHAUSTED,
        Status.ABORTED,
        Status.CANCELLED,
        Status.INTERNAL,
        Status.UNAUTHENTICATED,
        Status.PERMISSION_DENIED,
    }
)
_BACKOFF: Final = Backoff(first_seconds=0.1, limit_seconds=5.0)

Call = Callable[[], Awaitable[object]]
Instead = Callable[[CallError], Call | None]


class Completions:
    """Calls in flight that carry results.  Runs on the hub loop.

    Args:
        on_answered: Called whenever a call needs no more attention.
    """

    def __init__(self, on_answered: Callable[[], None], *, backoff: Backoff = _BACKOFF) -> None:
        self._on_answered = on_answered
        self._backoff = backoff
        self._jitter = SystemRandom().random
        self._tasks: set[asyncio.Task[None]] = set()
        self._answers: set[asyncio.Future[object]] = set()

    @property
    def outstanding(self) -> int:
        """How many calls have not been answered yet."""
        return len(self._tasks) + len(self._answers)

    def send(
        self,
        call: Call,
        done: Callable[[], None] | None = None,
        *,
        instead: Instead | None = None,
    ) -> None:
        """Make a call now, and again until it is accepted or known to be stale.

        Args:
            call: Makes the message and the call.  A message belongs to its receiver, so each
                attempt makes its own.
            done: Called when nothing more will be sent.
            instead: Asked, when the call is refused, what to send in its place; None: nothing else.
        """
        delivery = _Delivery(call, done, instead)
        try:
            answer = call()
        except CallError as error:
            self._again(delivery, error)
            return
        if isinstance(answer, asyncio.Future):
            self._answers.add(answer)
            answer.add_done_callback(partial(self._answered, delivery))
        else:
            self._tasks.add(asyncio.create_task(self._deliver(delivery, answer)))

    def cancel(self) -> None:
        """Give up what has not been answered."""
        for task in self._tasks | self._answers:
            task.cancel()

    def _answered(self, delivery: _Delivery, answer: asyncio.Future[object]) -> None:
        """A future of an engine in this process is done."""
        self._answers.discard(answer)
        error = None if answer.cancelled() else answer.exception()
        if error is not None:
            self._again(delivery, error)
            return
        if delivery.done is not None:
            delivery.done()
        self._on_answered()

    def _again(self, delivery: _Delivery, error: BaseException) -> None:
        """Begin with an attempt that failed already."""
        failed: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        failed.set_exception(error)
        self._tasks.add(asyncio.create_task(self._deliver(delivery, failed)))

    async def _deliver(self, delivery: _Delivery, answer: Awaitable[object] | None) -> None:
        failures = 0
        try:
            while True:
                try:
                    await (answer or delivery.call())
                except CallError as error:
                    answer = None
                    if delivery.replace(error):
                        continue
                    if error.status not in TRANSIENT:
                        _log_refusal(error)
                        return
                    failures += 1
                    logger.debug("A result will be sent again: %s %s", error.status.name, error)
                else:
                    return
                await asyncio.sleep(self._backoff.delay_seconds(failures, self._jitter()))
        except Exception:
            # The worker loop: a defect here must not end in a result that is lost in silence.
            logger.exception("A result could not be sent")
        finally:
            task = asyncio.current_task()
            if task is not None:
                self._tasks.discard(task)
            if delivery.done is not None:
                delivery.done()
            self._on_answered()


@define(eq=False)
class _Delivery:
    """What is to be sent."""

    call: Call
    done: Callable[[], None] | None
    instead: Instead | None

    def replace(self, error: CallError) -> bool:
        """Find something else to send after a refusal, once; return whether there is."""
        call = self.instead(error) if self.instead is not None else None
        if call is None:
            return False
        self.call, self.instead = call, None
        return True


def _log_refusal(error: CallError) -> None:
    if error.status is Status.UNIMPLEMENTED:
        # An engine without Abandon: its own lock or lease brings the item back.
        logger.debug("The task hub takes no such answer: %s", error)
    else:
        logger.info("The task hub no longer wants a result: %s %s", error.status.name, error)
