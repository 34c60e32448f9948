"""What asyncio and its like offer to coroutines, and what an orchestrator uses instead.

An orchestrator runs on no event loop.  Code that expects one raises, or hands out what only a loop
understands; both are explained with the durable counterpart of what was called.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterable
from types import FrameType
from typing import Any, Final

from durableflow.replay.sources import library_of

_INSTALLED: Final = ("site-packages", "dist-packages")

_TIMER: Final = "use `await ctx.create_timer(…)`"
_START: Final = (
    "what the context is asked for starts at once: keep the tasks that it returns, and wait for "
    "them with `await when_all([…])`"
)
_JOIN: Final = "use `await when_all([…])` or `await when_any([…])`"
_PATIENCE: Final = (
    "use `await when_any([task, ctx.create_timer(…)])`, or `timeout=` of "
    "`ctx.wait_for_external_event`"
)
_SIGNAL: Final = "use `await ctx.wait_for_external_event(…)`"
_ACTIVITY: Final = "use an activity"

_INSTEAD: Final = {
    "sleep": _TIMER,
    "sleep_until": _TIMER,
    "create_task": _START,
    "ensure_future": _START,
    "TaskGroup": _START,
    "create_task_group": _START,
    "gather": _JOIN,
    "wait": _JOIN,
    "as_completed": _JOIN,
    "wait_for": _PATIENCE,
    "timeout": _PATIENCE,
    "timeout_at": _PATIENCE,
    "Timeout": _PATIENCE,
    "fail_after": _PATIENCE,
    "move_on_after": _PATIENCE,
    "Event": _SIGNAL,
    "Condition": _SIGNAL,
    "Queue": _SIGNAL,
    "to_thread": _ACTIVITY,
}

_NO_LOOP: Final = (
    "no running event loop",
    "There is no current event loop",
    "must be called from async context",
    "'NoneType' object has no attribute 'create_future'",
)
_NO_LOOP_ERRORS: Final = frozenset(
    {"AsyncLibraryNotFoundError", "NoEventLoopError", "NoCurrentAsyncBackend"}
)

ONLY_TASKS: Final = (
    "an orchestrator awaits only tasks that its context made; what waits for a clock, a file or a "
    "network belongs in an activity"
)


def misses_a_loop(error: BaseException) -> bool:
    """Whether an exception says that there is no event loop."""
    if type(error).__name__ in _NO_LOOP_ERRORS:
        return True
    text = error.args[0] if error.args else None
    if not isinstance(error, RuntimeError | AttributeError) or not isinstance(text, str):
        return False
    return text.startswith(_NO_LOOP)


def instead(frames: Iterable[FrameType], awaited: Any = None) -> str:
    """Say what to use instead of what was called.

    Args:
        frames: From the orchestrator's own frame to the innermost.
        awaited: What was handed out.
    """
    caller = ""
    for frame in frames:
        library = library_of(frame)
        if library is None:
            caller = frame.f_code.co_filename
            continue
        name = frame.f_code.co_qualname.partition(".")[0]
        hint = _INSTEAD.get(name)
        if hint is None or any(folder in caller for folder in _INSTALLED):
            break
        return f"`{library}.{name}` is not durable, {hint}"
    if hasattr(awaited, "_asyncio_future_blocking"):
        return f"a {type(awaited).__name__} of asyncio is lost when this process ends; {ONLY_TASKS}"
    return ONLY_TASKS


def close_coroutines(frames: Iterable[FrameType]) -> None:
    """Close the coroutines that were given to a library, so that Python does not complain."""
    for frame in frames:
        if library_of(frame) is not None:
            for value in list(frame.f_locals.values()):
                for item in value if isinstance(value, tuple | list) else (value,):
                    if isinstance(item, Coroutine):
                        item.close()
