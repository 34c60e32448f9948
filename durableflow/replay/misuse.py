"""The words for what an orchestrator must not do: what happened, and what to write instead."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Coroutine, Generator, Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from durableflow.definitions import ActivityDefinition, OrchestratorDefinition
from durableflow.errors import ConversionError, OrchestratorError
from durableflow.replay import foreign
from durableflow.replay.sources import (
    Origin,
    call_at,
    called_function,
    called_where_raised,
    frames_of,
    innermost_place,
    place_of,
    waiting_frames,
    waiting_place,
)

if TYPE_CHECKING:
    from durableflow.replay.tasks import Deferred

WHEN_ANY_OF_NOTHING: Final = "when_any got no tasks, so it would wait for ever. Give it a task."
# As Python says it up to 3.13, and from 3.14 on.
_NOT_AWAITABLE: Final = re.compile("can't be used in 'await' expression|can't be awaited")
_GENERATOR: Final = re.compile(r"\bgenerator\b")
_OF_A_TASK: Final = re.compile(r"\bTask\b")
_MOST_NAMED: Final = 3
_BY_POSITION: Final = re.compile(r"^(?:Calls|OrchestrationContext)\.(\w+)\(\) takes .* positional")
_FUTURE: Final = re.compile(r"object '?\w*Future\b")
SEVERAL_CONTEXTS: Final = (
    "These tasks belong to several orchestrations. Combine only tasks made by the context that "
    "this orchestrator received."
)


def not_complete(what: str) -> str:
    """The result was asked for too early."""
    return f"The task for {what} is not complete. Wait for it first: `yield task` or `await task`."


def not_failed(what: str) -> str:
    """The exception of a task without one was asked for."""
    return f"The task for {what} has not failed. Ask `task.is_failed` first."


def iterated(what: str) -> str:
    """A task was iterated in another way than by ``yield from``."""
    return (
        f"The task for {what} was iterated. A task is not a sequence: wait for it with "
        "`yield task`, `yield from task` or `await task`."
    )


def not_a_child(function: str, value: Any) -> str:
    """Something that is no task was given to ``when_all`` or ``when_any``."""
    return (
        f"{function} got {_kind(value)}, which is not a task. Did you call an activity directly? "
        f"Use `ctx.call_activity(…)` to make the tasks that you give to {function}."
    )


def not_a_task(value: Any, running: Any) -> str:
    """Something that is no task was yielded or awaited.

    A coroutine among it is closed, so that Python does not complain about it as well.
    """
    verb = "awaited" if isinstance(running, Coroutine) else "yielded"
    called = called_function(running)
    frames = waiting_frames(running)
    if isinstance(value, Coroutine):
        frames += waiting_frames(value)
        value.close()
    hint = foreign.instead(frames, value)
    if verb == "yielded" and isinstance(value, Generator):
        hint = _run_as_a_part(value)
    elif hint is not foreign.ONLY_TASKS:
        pass
    elif called is not None:
        hint = _called_directly(called)
    elif isinstance(value, list | tuple | set | frozenset) and value:
        hint = "use `when_all([…])` or `when_any([…])` to wait for several tasks"
    elif verb == "yielded":
        hint = (
            "an orchestrator yields only tasks that its context made; did you call an activity "
            "directly? use `ctx.call_activity(…, input=…)`"
        )
    return f"you {verb} {_kind(value)}; {hint} ({waiting_place(running)})"


def explained(error: BaseException) -> BaseException:
    """Return what an orchestrator fails with: an error itself, or one that says what to do."""
    text = error.args[0] if error.args else None
    if isinstance(error, TypeError) and isinstance(text, str) and _NOT_AWAITABLE.search(text):
        called = None if _FUTURE.search(text) else called_where_raised(error)
        if called is not None and _GENERATOR.search(text):
            error.add_note(
                f"`{called}(…)` is a generator, which cannot be awaited: write it as `async def`, "
                "with `await` in place of `yield`"
            )
        else:
            error.add_note(foreign.ONLY_TASKS if called is None else _called_directly(called))
        return error
    if isinstance(error, TypeError) and isinstance(text, str):
        by_position = _BY_POSITION.search(text)
        if by_position is not None:
            error.add_note(_by_keyword(by_position[1]))
        return error
    if not foreign.misses_a_loop(error):
        return error
    frames = frames_of(error)
    foreign.close_coroutines(frames)
    better = OrchestratorError(
        f"an orchestrator runs on no event loop; {foreign.instead(frames)} "
        f"({innermost_place(frames)})"
    )
    better.__cause__ = error
    return better.with_traceback(error.__traceback__)


def _by_keyword(method: str) -> str:
    example = "input=…" if method.startswith("call_") else "name=value"
    return f"give what comes after that by keyword: `ctx.{method}(…, {example})`"


def note_forgotten(error: BaseException, unawaited: Iterable[Deferred[Any]], keyword: str) -> None:
    """Say which task was used in place of its result, if that is what an error is about.

    Args:
        unawaited: The tasks that nobody has waited for.
        keyword: What this orchestrator waits with: ``yield`` or ``await``.
    """
    text = error.args[0] if error.args else None
    about_values = isinstance(error, TypeError | AttributeError | ConversionError)
    if about_values and isinstance(text, str) and _OF_A_TASK.search(text):
        used = [task for task in unawaited if task is getattr(error, "obj", task)]
        if used:
            calls = " or ".join(map(_made_by, used[:_MOST_NAMED]))
            error.add_note(f"A task is not its result; did you forget `{keyword}` before {calls}?")


def _made_by(task: Deferred[Any]) -> str:
    call = call_at(task.origin)
    made = f"the task for {task.what}" if call is None else f"`{call}`"
    return f"{made} ({place_of(task.origin)})"


def _called_directly(function: str) -> str:
    return (
        f"did you call `{function}(ctx, …)` directly? use `ctx.call_activity({function}, input=…)`"
    )


def _run_as_a_part(value: Generator[Any, Any, Any]) -> str:
    """Say how a generator, which is closed here, is run by an orchestrator."""
    value.close()
    name = getattr(value, "__name__", "…")
    return (
        f"use `yield from {name}(…)` to run it as a part of this orchestrator, or "
        f"`yield ctx.call_sub_orchestrator({name}, …)` if it is one of its own"
    )


def another_context(what: str, running: Any) -> str:
    """A task of another orchestration was yielded."""
    return (
        f"The task for {what} was made by the context of another orchestration "
        f"({waiting_place(running)}). Wait only for tasks made by the context that this "
        "orchestrator received."
    )


def returned_task(what: str, keyword: str) -> str:
    """A task was returned.

    Args:
        keyword: What this orchestrator waits with: ``yield`` or ``await``.
    """
    return (
        f"the orchestrator returned the task for {what}; {keyword} it first: "
        f"`return ({keyword} …)`."
    )


def returned_unrun(value: Generator[Any, Any, Any] | Coroutine[Any, Any, Any]) -> str:
    """A generator or a coroutine was returned, which is closed here."""
    value.close()
    name = getattr(value, "__name__", "…")
    keyword = "await" if isinstance(value, Coroutine) else "yield from"
    return (
        f"the orchestrator returned `{name}(…)`, which has not run. "
        f"Use `return ({keyword} {name}(…))`."
    )


def input_missing(label: str, expected: Any) -> str:
    """No input was given to a function that needs one."""
    name = getattr(expected, "__name__", str(expected))
    return f"{as_sentence(label)} needs an input ({name}), and none was given. Pass `input=…`."


def input_unwanted(definition: ActivityDefinition | OrchestratorDefinition, value: Any) -> str:
    """An input was given to a function that takes none."""
    words = (
        f"{as_sentence(definition.label)} takes no input, but {_kind(value)} was passed as `input=`"
    )
    if not isinstance(definition, ActivityDefinition):
        return f"{words}. Give the function a second parameter for it."
    if not definition.takes_context:
        return f"{words}. Give the function a parameter for it."
    return (
        f"{words}: its only parameter is the context. Give it a second one, or, if it is meant for "
        "the input, annotate it with its type."
    )


def too_late(duration: timedelta) -> str:
    """A timer was asked for that no calendar holds."""
    return f"{duration} from now is after the year 9999. Give a shorter duration."


def not_a_time(value: object) -> str:
    """Something else was given where a time or a duration is expected."""
    return (
        f"{_shown(value)} is no time to wait. Give a timedelta, seconds, or, for a timer, a "
        "datetime with a time zone."
    )


def yields_in_a_loop(running: Any, steps: int) -> str:
    """Code goes on and on without waiting."""
    return (
        f"the orchestrator yields in a loop: {steps} times in one turn it went on at once, at last "
        f"at {waiting_place(running)}. Every task that it waits for is complete already; wait for "
        "a new one, or leave the loop."
    )


def used_after_turn(instance_id: str) -> str:
    """The context was used while its orchestrator does not run."""
    return (
        f"The context of instance '{instance_id}' was used outside its orchestrator's turn, by "
        "another thread, a callback or a task of asyncio. Only the orchestrator function itself, "
        "while it runs, can use its context; move other work into activities."
    )


def never_awaited(tasks: Iterable[Deferred[Any]]) -> str:
    """List the tasks that nobody waited for, with their lines."""
    return "; ".join(f"{task.what} ({place_of(task.origin)})" for task in tasks)


def after_continue_as_new(origin: Origin) -> str:
    """Something was asked for, or waited for, when the execution was to end."""
    return (
        f"continue_as_new was called ({place_of(origin)}), so this execution can neither ask for "
        "anything more nor wait. Return from the orchestrator right after that call, and ask for "
        "the rest before it, or in the next execution."
    )


def not_text(option: str, value: object) -> str:
    """Something else was given where text is expected."""
    return f"{option}={_shown(value)}: give text."


def not_a_policy(value: object) -> str:
    """Something else was given as a retry policy."""
    return f"retry_policy={_shown(value)}: give a RetryPolicy."


def not_tags(value: object) -> str:
    """Something else was given as tags."""
    return f"tags= takes a mapping of text to text, and this {_kind(value)} is none."


def not_a_switch(option: str, value: object) -> str:
    """Something else was given where it is yes or no."""
    return f"{option}={_shown(value)}: give True or False."


def not_a_logger(value: object) -> str:
    """Something else was given to be made safe for replays."""
    return f"logger={_shown(value)}: give a logger, for example logging.getLogger(__name__)."


def not_items(value: object) -> str:
    """Something else was given where there are to be many things."""
    return f"items={_shown(value)}: give a list, or something else to go through."


def not_a_limit(value: object) -> str:
    """Something else was given as a limit."""
    return f"limit={_shown(value)}: give a whole number of at least 1."


def not_sendable(request: str, origin: Origin, error: Exception) -> str:
    """What was asked for cannot be put into a message."""
    return f"The orchestrator {request} ({place_of(origin)}), which cannot be sent: {error}."


def as_sentence(text: str) -> str:
    """Begin with a capital letter, and leave the rest as it is: there are names in it."""
    return text[:1].upper() + text[1:]


def _shown(value: object) -> str:
    return reprlib.repr(value)


def _kind(value: Any) -> str:
    return "None" if value is None else type(value).__name__
