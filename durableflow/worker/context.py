"""What an activity learns about its call: ``ActivityContext``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from durableflow.worker.cancellation import CancelToken


@frozen(kw_only=True)
class ActivityContext:
    """What an activity may want to know besides its input.

    All fields have defaults, so a test can call an activity with a context of its own making.

    Attributes:
        orchestration_id: The orchestration instance that called.
        execution_id: Which execution of it; a new one begins with each ``continue_as_new``.  Empty
            where the engine does not tell.
        task_id: The call's number within that execution.  Retries of one call share it.
        attempt: How often this call has been tried, this time included.  It counts what a retry
            policy asked for, not what an engine delivered twice.  Always 1 on engines that do not
            keep tags.
        name: The activity's name, as it was called.
        version: The version that was asked for, None if none was.
        tags: The tags of the call.
        app: The ``App`` that runs the activity.
        state: What the app's ``lifespan`` yielded, None without one.
        cancel_token: Set when nobody waits for the activity any more.
    """

    orchestration_id: str = ""
    execution_id: str = ""
    task_id: int = 0
    attempt: int = 1
    name: str = ""
    version: str | None = None
    tags: Mapping[str, str] = field(factory=dict)
    app: Any = None
    state: Any = None
    cancel_token: CancelToken = field(factory=CancelToken, eq=False, repr=False)

    @property
    def idempotency_key(self) -> str:
        """A text that names this call and no other, the same in every attempt and delivery.

        Give it to whatever must not happen twice: a payment service, a unique column.
        """
        return f"{self.orchestration_id}:{self.execution_id}:{self.task_id}"

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for the activity any more; see ``cancel_token``."""
        return self.cancel_token.is_set()
