"""The part of an orchestrator's context that runs other functions: ``Calls``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, Unpack, overload

from durableflow.errors import OrchestratorError
from durableflow.registry import ABSENT, ActivityDefinition, OrchestratorDefinition
from durableflow.replay import misuse
from durableflow.replay.callees import Callees
from durableflow.replay.journal import Journal
from durableflow.replay.mapping import MapTask, check_items
from durableflow.replay.record import Record
from durableflow.replay.requests import ActivityCall, ChildCall
from durableflow.replay.sources import call_site
from durableflow.replay.tasks import Deferred, Task
from durableflow.retry import RetryPolicy

if TYPE_CHECKING:
    from durableflow.replay.references import (
        Activity,
        ActivityWithoutContext,
        ActivityWithoutInput,
        Async,
        CallOptions,
        ChildOptions,
        Fitting,
        MapOptions,
        PlainT,
        Routine,
        WithInput,
        WithoutInput,
    )

T = TypeVar("T")
I = TypeVar("I")  # noqa: E741 -- stands for the input
O = TypeVar("O")  # noqa: E741 -- stands for the output


class Calls:
    """Calls activities and sub-orchestrations."""

    def __init__(self, journal: Journal, callees: Callees, record: Record) -> None:
        self._journal = journal
        self._callees = callees
        self._record = record

    @overload
    def call_activity(
        self,
        activity: str,
        *,
        input: Any = None,
        return_type: type[T],
        **options: Unpack[CallOptions],
    ) -> Task[T]: ...
    @overload
    def call_activity(
        self, activity: str, *, input: Any = None, **options: Unpack[CallOptions]
    ) -> Task[Any]: ...
    @overload
    def call_activity(
        self, activity: ActivityWithoutInput[Async[O]], **options: Unpack[CallOptions]
    ) -> Task[O]: ...
    @overload
    def call_activity(
        self, activity: ActivityWithoutInput[O], **options: Unpack[CallOptions]
    ) -> Task[O]: ...
    @overload
    def call_activity(
        self, activity: Callable[[], Async[O]], **options: Unpack[CallOptions]
    ) -> Task[O]: ...
    @overload
    def call_activity(
        self, activity: Callable[[], O], **options: Unpack[CallOptions]
    ) -> Task[O]: ...
    @overload
    def call_activity(
        self,
        activity: Activity[I, Async[O]],
        *,
        input: Fitting[I],
        **options: Unpack[CallOptions],
    ) -> Task[O]: ...
    @overload
    def call_activity(
        self, activity: Activity[I, O], *, input: Fitting[I], **options: Unpack[CallOptions]
    ) -> Task[O]: ...
    @overload
    def call_activity(
        self,
        activity: ActivityWithoutContext[I, Async[O]],
        *,
        input: Fitting[I],
        **options: Unpack[CallOptions],
    ) -> Task[O]: ...
    @overload
    def call_activity(
        self,
        activity: ActivityWithoutContext[I, O],
        *,
        input: Fitting[I],
        **options: Unpack[CallOptions],
    ) -> Task[O]: ...
    def call_activity(
        self,
        activity: Any,
        *,
        input: Any = None,
        return_type: Any = Any,
        retry_policy: RetryPolicy | None = None,
        tags: Mapping[str, str] | None = None,
        version: str | None = None,
    ) -> Any:
        """Run an activity.

        Args:
            activity: A registered function, or the name of one that lives elsewhere.
            input: Its input, converted now.
            return_type: For a name: what the result is converted to.
            retry_policy: None: the policy that the function was registered with, if any.
            tags: Texts that travel with the call.
            version: Run this version instead of the function's own; ``""`` for none.  A name
                without a version inherits the orchestration's: a worker takes its function of
                that version, else the one without a version.

        Raises:
            NotRegisteredError: the function is not an activity of this app, or the name is
                certainly a mistake.
            ConversionError: the input does not fit, or cannot travel as JSON.
        """
        origin = call_site()
        journal = self._journal
        if not (journal.in_turn or self._may_ask()):
            return Deferred(journal, "an activity", origin)
        definition, name, version = self._activity(activity, version)
        expected: Any = Any
        if definition is not None:
            expected = input_type(definition, input)
            return_type = definition.output_type
            retry_policy = retry_policy or definition.retry_policy
        if retry_policy is not None or tags is not None:
            _check_options(retry_policy, tags)
        what = f"activity '{name}'"
        text = journal.converter.dumps(input, expected, where=f"input of {what}")
        task: Deferred[Any] = Deferred(journal, what, origin)
        journal.call(ActivityCall(task, name, version, text, return_type, retry_policy, tags))
        return task

    @overload
    def map(
        self,
        activity: str,
        items: Iterable[Any],
        *,
        return_type: type[T],
        **options: Unpack[MapOptions],
    ) -> Task[list[T]]: ...
    @overload
    def map(
        self, activity: str, items: Iterable[Any], **options: Unpack[MapOptions]
    ) -> Task[list[Any]]: ...
    @overload
    def map(
        self,
        activity: Activity[I, Async[O]],
        items: Iterable[Fitting[I]],
        **options: Unpack[MapOptions],
    ) -> Task[list[O]]: ...
    @overload
    def map(
        self, activity: Activity[I, O], items: Iterable[Fitting[I]], **options: Unpack[MapOptions]
    ) -> Task[list[O]]: ...
    @overload
    def map(
        self,
        activity: ActivityWithoutContext[I, Async[O]],
        items: Iterable[Fitting[I]],
        **options: Unpack[MapOptions],
    ) -> Task[list[O]]: ...
    @overload
    def map(
        self,
        activity: ActivityWithoutContext[I, O],
        items: Iterable[Fitting[I]],
        **options: Unpack[MapOptions],
    ) -> Task[list[O]]: ...
    def map(  # noqa: PLR0913 -- the options of every call
        self,
        activity: Any,
        items: Iterable[Any],
        *,
        limit: int | None = None,
        return_type: Any = Any,
        retry_policy: RetryPolicy | None = None,
        tags: Mapping[str, str] | None = None,
        version: str | None = None,
    ) -> Any:
        """Run an activity for each of some items, not too many at a time.

        The result is the list of results, in the order of the items.  As with ``when_all``, it
        fails as soon as one call fails in the end; no further calls are made then.

        Args:
            activity: As for ``call_activity``, and so are the options.
            items: The inputs, converted now.
            limit: How many calls may be outstanding; None: all at once.  It belongs to what the
                history records: changing it is a change of the code.
        """
        origin = call_site()
        journal = self._journal
        if not (journal.in_turn or self._may_ask()):
            return Deferred(journal, "a map", origin)
        check_items(items)
        definition, name, version = self._activity(activity, version)
        if definition is not None:
            return_type = definition.output_type
            retry_policy = retry_policy or definition.retry_policy
        _check_options(retry_policy, tags)
        what = f"activity '{name}'"

        def text_of(index: int, item: Any) -> str | None:
            expected = Any if definition is None else input_type(definition, item)
            return journal.converter.dumps(item, expected, where=f"item {index} for {what}")

        def call(text: str | None) -> Deferred[Any]:
            task: Deferred[Any] = Deferred(journal, what, origin)
            journal.call(ActivityCall(task, name, version, text, return_type, retry_policy, tags))
            return task

        inputs = [text_of(index, item) for index, item in enumerate(items)]
        return MapTask(journal, what, origin, inputs=inputs, call=call, limit=_checked(limit))

    @overload
    def call_sub_orchestrator(
        self,
        orchestrator: str,
        *,
        input: Any = None,
        return_type: type[T],
        **options: Unpack[ChildOptions],
    ) -> Task[T]: ...
    @overload
    def call_sub_orchestrator(
        self, orchestrator: str, *, input: Any = None, **options: Unpack[ChildOptions]
    ) -> Task[Any]: ...
    @overload
    def call_sub_orchestrator(
        self, orchestrator: WithoutInput[Routine[O]], **options: Unpack[ChildOptions]
    ) -> Task[O]: ...
    @overload
    def call_sub_orchestrator(
        self, orchestrator: WithoutInput[PlainT], **options: Unpack[ChildOptions]
    ) -> Task[PlainT]: ...
    @overload
    def call_sub_orchestrator(
        self,
        orchestrator: WithInput[I, Routine[O]],
        *,
        input: I,
        **options: Unpack[ChildOptions],
    ) -> Task[O]: ...
    @overload
    def call_sub_orchestrator(
        self, orchestrator: WithInput[I, PlainT], *, input: I, **options: Unpack[ChildOptions]
    ) -> Task[PlainT]: ...
    def call_sub_orchestrator(  # noqa: PLR0913 -- the options of the protocol's own action
        self,
        orchestrator: Any,
        *,
        input: Any = None,
        instance_id: str | None = None,
        version: str | None = None,
        return_type: Any = Any,
        retry_policy: RetryPolicy | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Any:
        """Run another orchestration, and wait for its result.

        Args:
            orchestrator: A registered function, or the name of one that may live elsewhere.
            input: Its input, converted now.
            instance_id: Names the child; None: an id that is made of this instance's own.
            version: Run this version instead of the function's own; ``""`` for none.  Without
                it a name gets the setting ``default_version``, else the newest one of this app.
            return_type: For a name: what the result is converted to.
            retry_policy: What to do if the child fails or is terminated; None: nothing.  Another
                attempt replaces the child, under the same id.
            tags: Stay with the child, for people and tools.

        Raises:
            NotRegisteredError: the function is not an orchestrator of this app, or the name is
                certainly a mistake.
            ConversionError: the input does not fit, or cannot travel as JSON.
        """
        origin = call_site()
        journal = self._journal
        if not (journal.in_turn or self._may_ask()):
            return Deferred(journal, "a sub-orchestration", origin)
        expected: Any = Any
        if isinstance(orchestrator, str):
            name = orchestrator
            self._callees.check_name("orchestrator", name, None, journal, self._record)
        else:
            definition = self._callees.orchestrator_of(orchestrator)
            name = definition.name
            version = definition.version or "" if version is None else version
            expected = input_type(definition, input)
            return_type = definition.output_type
        _check_options(retry_policy, tags)
        check_text("instance_id", instance_id)
        check_text("version", version)
        version = self._callees.start_version(name, version, journal.version)
        what = f"sub-orchestration '{name}'"
        text = journal.converter.dumps(input, expected, where=f"input of {what}")
        task: Deferred[Any] = Deferred(journal, what, origin)
        call = ChildCall(task, name, version, text, return_type, retry_policy, tags)
        call.instance_id = instance_id or ""
        journal.start_child(call)
        return task

    def _activity(
        self, activity: Any, version: str | None
    ) -> tuple[ActivityDefinition | None, str, str | None]:
        """Return what is called: its definition if it is here, its name and its version."""
        check_text("version", version)
        if isinstance(activity, str):
            journal = self._journal
            version = (journal.version if version is None else version) or None
            self._callees.check_name("activity", activity, version, journal, self._record)
            return None, activity, version
        definition = self._callees.activity_of(activity)
        version = definition.version if version is None else version or None
        return definition, definition.name, version

    def _may_ask(self) -> bool:
        """Whether what is asked for now counts; it does not while the session is being closed.

        Raises:
            OrchestratorError: the orchestrator does not run now, or has asked to continue as new.
        """
        journal = self._journal
        if journal.in_turn:
            return True
        if journal.evicted:
            return False
        continuation = journal.continuation
        if continuation is not None:
            raise OrchestratorError(misuse.after_continue_as_new(continuation.origin))
        raise OrchestratorError(misuse.used_after_turn(journal.instance_id))


def check_text(option: str, value: object, *, required: bool = False) -> None:
    """Refuse what is no text that can be sent; None too, and "", if it is required."""
    if (required and not value) or not isinstance(value, str | None):
        raise OrchestratorError(misuse.not_text(option, value))
    try:
        (value or "").encode()
    except UnicodeEncodeError:
        raise OrchestratorError(misuse.not_text(option, value)) from None


def _check_options(retry_policy: object, tags: object) -> None:
    if retry_policy is not None and not isinstance(retry_policy, RetryPolicy):
        raise OrchestratorError(misuse.not_a_policy(retry_policy))
    if tags is None:
        return
    is_text = isinstance(tags, Mapping) and all(
        isinstance(key, str) and isinstance(value, str) for key, value in tags.items()
    )
    if not is_text:
        raise OrchestratorError(misuse.not_tags(tags))


def _checked(limit: int | None) -> int:
    if limit is None:
        return sys.maxsize
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
        raise OrchestratorError(misuse.not_a_limit(limit))
    return limit


def input_type(definition: ActivityDefinition | OrchestratorDefinition, input: Any) -> Any:
    """Return what the input of a function is declared as.

    Raises:
        OrchestratorError: an input is missing, or there must be none.
    """
    parameter = definition.input
    if parameter is None:
        if input is not None:
            raise OrchestratorError(misuse.input_unwanted(definition, input))
        return Any
    if input is None and parameter.when_absent() is ABSENT:
        raise OrchestratorError(misuse.input_missing(definition.label, parameter.type))
    return parameter.type
