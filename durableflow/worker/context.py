"""What an activity learns about its call: ``ActivityContext``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen


@frozen(kw_only=True)
class ActivityContext:
    """What an activity may want to know besides its input.

    All fields have defaults, so a test can call an activity with a context of its own making.

    Attributes:
        orchestration_id: The orchestration instance that called.
        task_id: The call's number within that instance.  Retries of one call share it, so
            ``(orchestration_id, task_id)`` is a good idempotency key.
        name: The activity's name, as it was called.
        version: The version that was asked for, None if none was.
        tags: The tags of the call.
        app: The ``App`` that runs the activity.
        state: What the app's ``lifespan`` yielded, None without one.
    """

    orchestration_id: str = ""
    task_id: int = 0
    name: str = ""
    version: str | None = None
    tags: Mapping[str, str] = field(factory=dict)
    app: Any = None
    state: Any = None
