"""One activity, from its work item to its result or failure: ``ActivityRunner``.

Runs on the activity pool or on the app's loop, several at once; it shares nothing but what never
changes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from typing import Any

from attrs import define, field

from durableflow._proto import task_hub_pb2 as pb
from durableflow.converter import Converter
from durableflow.errors import ConversionError, NotRegisteredError
from durableflow.notifications import ActivityStarted
from durableflow.protocol.failures import from_exception, to_message
from durableflow.protocol.metadata import ATTEMPT
from durableflow.protocol.sizes import DEFAULT_MAX_PAYLOAD_BYTES, check_payload
from durableflow.registry import ABSENT, ActivityDefinition, Registry
from durableflow.worker.cancellation import CancelToken
from durableflow.worker.context import ActivityContext
from durableflow.worker.payload_log import log_payload

logger = logging.getLogger(__name__)


@define(eq=False)
class ActivityJob:
    """An activity work item.

    Attributes:
        token: Of the newest delivery; an engine that lost sight of a running activity delivers it
            again.
        definition: What runs it; None if nothing here does.
        result: Its result as JSON text.
        failure: Why it failed; the result does not count then.
        cancel_token: Tells the activity that nobody waits for it any more.
        notice: What plugins were told at its beginning; None if they were not.
        begun: When that was, on the monotonic clock.
    """

    request: pb.ActivityRequest
    token: str
    definition: ActivityDefinition | None
    result: str | None = None
    failure: pb.TaskFailureDetails | None = None
    cancel_token: CancelToken = field(factory=CancelToken, repr=False)
    notice: ActivityStarted | None = field(default=None, repr=False)
    begun: float = 0.0

    @property
    def instance_id(self) -> str:
        """The orchestration instance that called."""
        return self.request.orchestrationInstance.instanceId

    @property
    def place_of_result(self) -> str:
        """What its result is, for errors."""
        return f"result of activity '{self.request.name}'"

    def fail(self, error: BaseException, *, is_final: bool = False) -> None:
        """Let an exception be its failure.

        Args:
            is_final: Whether it would fail in the same way again.
        """
        self.failure = to_message(from_exception(error, non_retriable=is_final))
        # Its message and trace are in the history; in a log they might show what is secret.
        logger.debug("Activity '%s' failed with %s", self.request.name, type(error).__qualname__)

    def response(self) -> pb.ActivityResponse:
        """Make the message that completes the work item."""
        request = self.request
        response = pb.ActivityResponse(
            instanceId=request.orchestrationInstance.instanceId,
            taskId=request.taskId,
            completionToken=self.token,
        )
        if self.failure is not None:
            response.failureDetails.CopyFrom(self.failure)
        elif self.result is not None:
            response.result.value = self.result
        return response


class ActivityRunner:
    """Runs the activities of an app.

    Args:
        app: ``ctx.app`` of activities.
        state: ``ctx.state`` of activities.
        max_payload_bytes: How large a result may be.
    """

    def __init__(
        self,
        *,
        registry: Registry,
        converter: Converter,
        app: object,
        state: object,
        max_payload_bytes: int = DEFAULT_MAX_PAYLOAD_BYTES,
    ) -> None:
        self._registry = registry
        self._converter = converter
        self._app = app
        self._state = state
        self._max_payload_bytes = max_payload_bytes

    def job(self, request: pb.ActivityRequest, token: str) -> ActivityJob:
        """Look up what runs a work item."""
        version = request.version.value or None
        return ActivityJob(request, token, self._registry.find_activity(request.name, version))

    def refuse(self, job: ActivityJob) -> None:
        """Fail an activity that this worker does not have."""
        names = sorted({repr(d.name) for d in self._registry.activities()})
        job.fail(
            NotRegisteredError(
                f"This worker has no activity '{job.request.name}'; it has "
                f"{', '.join(names) or 'none'}. Register one under this name, "
                "or start a worker that has it."
            ),
            is_final=True,
        )

    def run(self, job: ActivityJob) -> None:
        """Run a sync activity to its end.  Never raises.

        Whatever it raises is its failure.  That includes SystemExit and KeyboardInterrupt: raised
        by an activity they end that activity, not the thread, which belongs to all of them.  (A
        real Ctrl-C never arrives here: signals are the main thread's.)
        """
        ours = True
        try:
            function, arguments = self._call(job)
            ours = False
            value = function(*arguments)
            ours = True
            self._finish(job, value)
        except BaseException as error:  # noqa: BLE001  # running an activity: see above
            job.fail(error, is_final=ours)

    async def run_async(self, job: ActivityJob) -> None:
        """Do the same for an async activity.  Never raises, also when its task is cancelled."""
        ours = True
        try:
            function, arguments = self._call(job)
            ours = False
            value = await function(*arguments)
            ours = True
            self._finish(job, value)
        except BaseException as error:  # noqa: BLE001  # running an activity: see above
            job.fail(error, is_final=ours)

    def _call(self, job: ActivityJob) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        definition, request = job.definition, job.request
        if definition is None:
            raise NotRegisteredError(request.name)
        context = (self._context(job),) if definition.takes_context else ()
        if definition.input is None:
            return definition.function, context
        if request.input.value:  # "" is no JSON; engines that do not keep presence send it
            place = f"input of activity '{request.name}'"
            log_payload(place, job.instance_id, request.input.value)
            value = self._converter.loads(request.input.value, definition.input.type, where=place)
        else:
            value = definition.input.when_absent()
            if value is ABSENT:
                raise ConversionError(
                    f"Activity '{request.name}' was called without an input but requires one. "
                    "Pass input=, or give the parameter a default."
                )
        return definition.function, (*context, value)

    def _finish(self, job: ActivityJob, value: object) -> None:
        if isinstance(value, Coroutine):
            value.close()  # it is refused below, and Python need not complain as well
        if value is not None and job.definition is not None:
            place = job.place_of_result
            text = self._converter.dumps(value, job.definition.output_type, where=place)
            check_payload(text, self._max_payload_bytes, place=place)
            log_payload(place, job.instance_id, text)
            job.result = text

    def _context(self, job: ActivityJob) -> ActivityContext:
        request = job.request
        tags = dict(request.tags)
        attempt = tags.pop(ATTEMPT, "")
        return ActivityContext(
            orchestration_id=request.orchestrationInstance.instanceId,
            execution_id=request.orchestrationInstance.executionId.value,
            task_id=request.taskId,
            attempt=int(attempt) if attempt.isdecimal() else 1,
            name=request.name,
            version=request.version.value or None,
            tags=tags,
            app=self._app,
            state=self._state,
            cancel_token=job.cancel_token,
        )
