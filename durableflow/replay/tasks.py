"""What an orchestrator waits for: ``Task``, ``CancellableTask``, ``when_all`` and ``when_any``.

User code sees ``Task`` and ``CancellableTask``.  Each task that exists is a ``Deferred`` as well:
the side of it that the replay engine completes.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, Generic, TypeAlias, TypeVar, overload

from durableflow.errors import OrchestratorError, TaskCancelledError
from durableflow.replay import misuse
from durableflow.replay.sources import Origin, call_site

if TYPE_CHECKING:
    from durableflow.replay.journal import Journal

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")

_PENDING: Final = 0
_DONE: Final = 1
_FAILED: Final = 2


class Task(Generic[T_co]):
    """Something that an orchestrator waits for.

    Wait with ``yield task``, with ``yield from task`` (which keeps the type of the result) or, in
    an ``async def`` orchestrator, with ``await task``.  The value is the result; a failed task
    raises.  Tasks compare by identity, so ``winner == timeout`` asks whether it is this one.
    """

    __slots__ = ("_journal", "_origin", "_state", "_value", "_watchers", "_what")

    def __init__(self, journal: Journal | None, what: str, origin: Origin) -> None:
        self._journal = journal
        self._what = what
        self._origin = origin
        self._state = _PENDING
        self._value: Any = None
        self._watchers: list[Callable[[Any], None]] | None = None
        if journal is not None:
            journal.unawaited[self] = None

    @property
    def is_complete(self) -> bool:
        """Whether it has ended, with a result or a failure."""
        if self._state == _PENDING:
            return False
        journal = self._journal
        if journal is not None and journal.untaken:
            journal.untaken.pop(self, None)
        return True

    @property
    def is_failed(self) -> bool:
        """Whether it has ended with a failure."""
        return self._state == _FAILED

    @property
    def result(self) -> T_co:
        """The result; the same as ``get_result()``."""
        return self.get_result()

    def get_result(self) -> T_co:
        """Return the result of a task that has ended.

        Raises:
            TaskFailedError: what the task waited for failed (other failures keep their own
                classes: TimeoutError, TaskCancelledError, ConversionError).
            OrchestratorError: it has not ended yet.
        """
        if self._state == _PENDING:
            raise OrchestratorError(misuse.not_complete(self._what))
        self._mark_awaited()
        self._mark_taken()
        if self._state == _FAILED:
            raise self._value
        result: T_co = self._value
        return result

    def get_exception(self) -> Exception:
        """Return what a failed task raises when it is waited for; usually a ``TaskFailedError``.

        Raises:
            OrchestratorError: it has not failed.
        """
        if self._state != _FAILED:
            raise OrchestratorError(misuse.not_failed(self._what))
        self._mark_awaited()
        self._mark_taken()
        error: Exception = self._value
        return error

    def __await__(self) -> Generator[Task[Any], Any, T_co]:
        result: T_co = yield self
        return result

    def __iter__(self) -> Generator[Task[Any], Any, T_co]:
        # `yield from task` comes here, but so does `list(task)`.  Only in the first case has the
        # executor resumed the code in between.
        journal = self._journal
        before = journal.resumptions if journal is not None else -1
        result: T_co = yield self
        if journal is not None and journal.resumptions == before:
            raise OrchestratorError(misuse.iterated(self._what))
        return result

    def __repr__(self) -> str:
        state = ("waiting", "done", "failed")[self._state]
        return f"<Task: {self._what}, {state}>"

    def _mark_awaited(self) -> None:
        if self._journal is not None:
            self._journal.unawaited.pop(self, None)

    def _mark_taken(self) -> None:
        if self._journal is not None and self._journal.untaken:
            self._journal.untaken.pop(self, None)

    def _end(self, state: int, value: Any) -> None:
        self._state = state
        self._value = value
        watchers, self._watchers = self._watchers, None
        if watchers is not None:
            for ended in watchers:
                ended(self)


class CancellableTask(Task[T_co]):
    """A task that the orchestrator itself can end: a timer, or the wait for an event."""

    __slots__ = ()

    def cancel(self) -> bool:
        """Stop waiting.  Whoever waits for the task gets a ``TaskCancelledError``.

        Returns:
            Whether it was still waiting.
        """
        if self._state != _PENDING:
            return False
        self._mark_awaited()
        self._end(_FAILED, TaskCancelledError(f"The wait for {self._what} was cancelled."))
        return True


Orchestration: TypeAlias = Generator[Task[Any], Any, T]
"""What a generator orchestrator returns: ``-> Orchestration[str]``."""


class Deferred(Task[T_co]):
    """A task as the replay engine handles it."""

    __slots__ = ()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        _name_as_a_task(cls)

    @property
    def what(self) -> str:
        """What is waited for, for people: ``activity 'charge'``."""
        return self._what

    @property
    def origin(self) -> Origin:
        """Where user code made it."""
        return self._origin

    def outcome(self) -> tuple[Any, Exception | None]:
        """Return the result, or None and the failure, of a task that has ended."""
        return (self._value, None) if self._state == _DONE else (None, self._value)

    def take(self) -> Any:
        """Return the result of a task that has one, as to code that has waited for it."""
        self._mark_taken()
        return self._value

    @property
    def journal(self) -> Journal | None:
        """The execution that it belongs to; None: any."""
        return self._journal

    @property
    def has_ended(self) -> bool:
        """The same as ``is_complete``, but the code has not looked."""
        return self._state != _PENDING

    def settle(self, value: Any) -> None:
        """End with a result, unless it has ended."""
        if self._state == _PENDING:
            self._end(_DONE, value)

    def fail(self, error: Exception) -> None:
        """End with a failure, unless it has ended."""
        if self._state == _PENDING:
            self._end(_FAILED, error)

    def watch(self, ended: Callable[[Deferred[Any]], None]) -> None:
        """Call a function when this task ends, or now if it has ended."""
        self._mark_awaited()
        if self._state != _PENDING:
            ended(self)
        elif self._watchers is None:
            self._watchers = [ended]
        else:
            self._watchers.append(ended)


def _name_as_a_task(cls: type) -> None:
    # Who uses a task in place of its result is told by Python of the class that people know.
    cls.__name__ = cls.__qualname__ = Task.__name__


_name_as_a_task(Deferred)


class CancellableDeferred(Deferred[T_co], CancellableTask[T_co]):
    """A cancellable task as the replay engine handles it."""

    __slots__ = ()


@overload
def when_all(tasks: Iterable[Task[T]], /) -> Task[list[T]]: ...
@overload
def when_all(t1: Task[A], t2: Task[B], /) -> Task[tuple[A, B]]: ...
@overload
def when_all(t1: Task[A], t2: Task[B], t3: Task[C], /) -> Task[tuple[A, B, C]]: ...
@overload
def when_all(t1: Task[A], t2: Task[B], t3: Task[C], t4: Task[D], /) -> Task[tuple[A, B, C, D]]: ...
@overload
def when_all(
    t1: Task[T], t2: Task[T], t3: Task[T], t4: Task[T], t5: Task[T], /, *more: Task[T]
) -> Task[tuple[T, ...]]: ...
def when_all(*tasks: Any) -> Any:
    """Make a task that waits for all of some tasks.

    Its result is a list for an iterable of tasks, a tuple for tasks given one by one, in the order
    of the tasks.  It fails as soon as one of them fails, with that failure.  Without tasks it is
    complete at once.
    """
    children, is_one_by_one = _children("when_all", tasks)
    return _WhenAll(children, tuple if is_one_by_one else list, call_site())


@overload
def when_any(tasks: Iterable[Task[T]], /) -> Task[Task[T]]: ...
@overload
def when_any(t1: Task[A], t2: Task[B], /) -> Task[Task[A] | Task[B]]: ...
@overload
def when_any(
    t1: Task[A], t2: Task[B], t3: Task[C], /, *more: Task[Any]
) -> Task[Task[A] | Task[B] | Task[C] | Task[Any]]: ...
def when_any(*tasks: Any) -> Any:
    """Make a task that waits until one of some tasks has ended.

    Its result is that task, the first in the order given if several have ended already.  A task
    that failed is a result like others: its failure is raised by ``winner.get_result()``.

    Raises:
        OrchestratorError: there are no tasks, so none would ever end.
    """
    children, _ = _children("when_any", tasks)
    if not children:
        raise OrchestratorError(misuse.WHEN_ANY_OF_NOTHING)
    return _WhenAny(children, call_site())


class _WhenAll(Deferred[Any]):
    __slots__ = ("_children", "_collect", "_missing")

    def __init__(
        self,
        children: Sequence[Deferred[Any]],
        collect: Callable[[Iterable[Any]], Any],
        origin: Origin,
    ) -> None:
        super().__init__(_journal_of(children), f"all of {len(children)} tasks", origin)
        self._children = children
        self._collect = collect
        self._missing = len(children)
        if not children:
            self.settle(collect(()))
        for child in children:
            child.watch(self._child_ended)

    def _child_ended(self, child: Deferred[Any]) -> None:
        self._missing -= 1
        _, failure = child.outcome()
        if failure is not None:
            self.fail(failure)
        elif self._missing == 0 and self._state == _PENDING:
            self.settle(self._collect(child.take() for child in self._children))


class _WhenAny(Deferred[Any]):
    __slots__ = ()

    def __init__(self, children: Sequence[Deferred[Any]], origin: Origin) -> None:
        super().__init__(_journal_of(children), f"any of {len(children)} tasks", origin)
        for child in children:
            child.watch(self._child_ended)

    def _child_ended(self, child: Deferred[Any]) -> None:
        # An event that has won is as good as taken; one that came later is not.
        if self._state == _PENDING and child.is_complete:
            self.settle(child)


def _children(function: str, tasks: Sequence[Any]) -> tuple[Sequence[Deferred[Any]], bool]:
    """Return the tasks, and whether they were given one by one."""
    # A task can be iterated too, for `yield from`: one task given alone is one task.
    is_one_by_one = len(tasks) != 1 or isinstance(tasks[0], Task)
    if not is_one_by_one and not isinstance(tasks[0], Iterable):
        raise OrchestratorError(misuse.not_a_child(function, tasks[0]))
    children = tasks if is_one_by_one else list(tasks[0])
    for child in children:
        if not isinstance(child, Deferred):
            raise OrchestratorError(misuse.not_a_child(function, child))
    return children, is_one_by_one


def _journal_of(children: Sequence[Deferred[Any]]) -> Journal | None:
    journals = {child.journal for child in children} - {None}
    if len(journals) > 1:
        raise OrchestratorError(misuse.SEVERAL_CONTEXTS)
    return journals.pop() if journals else None
