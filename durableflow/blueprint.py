"""The decorators: shared by ``App`` and by ``Blueprint``, a group of functions without an app."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeAlias, TypeVar, overload

from durableflow.definitions import Executor
from durableflow.registry import Registry
from durableflow.replay import OrchestrationContext
from durableflow.retry import RetryPolicy
from durableflow.worker import ActivityContext

OrchestratorFunction: TypeAlias = (
    Callable[[OrchestrationContext, Any], Any] | Callable[[OrchestrationContext], Any]
)
ActivityFunction: TypeAlias = (
    Callable[[ActivityContext, Any], Any] | Callable[[Any], Any] | Callable[[], Any]
)
OrchestratorT = TypeVar("OrchestratorT", bound=OrchestratorFunction)
ActivityT = TypeVar("ActivityT", bound=ActivityFunction)


class Decorators:
    """Registers orchestrators and activities, by decorator or by call.

    A decorated function comes back as it was, so it can be called and tested like any other.
    """

    def __init__(self) -> None:
        # The first is this object's own; a blueprint also feeds those of the apps it belongs to.
        self._registries = [Registry()]

    @overload
    def orchestrator(self, function: OrchestratorT, /) -> OrchestratorT: ...
    @overload
    def orchestrator(
        self, /, *, name: str | None = None, version: str | None = None
    ) -> Callable[[OrchestratorT], OrchestratorT]: ...
    def orchestrator(
        self, function: Any = None, /, *, name: str | None = None, version: str | None = None
    ) -> Any:
        """Register an orchestrator: ``@app.orchestrator``, or called with options.

        Args:
            function: Takes an ``OrchestrationContext`` and an input, or the context alone.  A
                generator (``-> Orchestration[T]``), an ``async def``, or a plain function.
            name: What clients and histories call it; the function's own name unless given.
            version: The version that this function runs.  Without one it runs every version of
                its name that has no function of its own.

        Raises:
            RegistrationError: the signature does not fit, or another function has this name and
                version.
        """

        def register(function: OrchestratorT) -> OrchestratorT:
            self.add_orchestrator(function, name=name, version=version)
            return function

        return register if function is None else register(function)

    @overload
    def activity(self, function: ActivityT, /) -> ActivityT: ...
    @overload
    def activity(
        self,
        /,
        *,
        name: str | None = None,
        version: str | None = None,
        retry_policy: RetryPolicy | None = None,
        timeout: timedelta | float | None = None,
        executor: Executor = "thread",
    ) -> Callable[[ActivityT], ActivityT]: ...
    def activity(
        self,
        function: Any = None,
        /,
        *,
        name: str | None = None,
        version: str | None = None,
        retry_policy: RetryPolicy | None = None,
        timeout: timedelta | float | None = None,
        executor: Executor = "thread",
    ) -> Any:
        """Register an activity: ``@app.activity``, or called with options.

        Args:
            function: Plain or ``async def``; takes an ``ActivityContext``, an input, both or
                neither.
            name: What orchestrators and histories call it; the function's own name unless given.
            version: The version that this function runs.
            retry_policy: Used where the call of the activity names no policy of its own.
            timeout: How long one attempt may run, a ``timedelta`` or seconds; then it has failed
                with ``ActivityTimeoutError``.  None sets no limit.
            executor: Where a plain function runs: on a ``thread`` of the worker, or, for work that
                keeps a processor busy, in a ``process`` beside it.

        Raises:
            RegistrationError: the signature or an option does not fit, or another function has
                this name and version.
        """

        def register(function: ActivityT) -> ActivityT:
            self.add_activity(
                function,
                name=name,
                version=version,
                retry_policy=retry_policy,
                timeout=timeout,
                executor=executor,
            )
            return function

        return register if function is None else register(function)

    def add_orchestrator(
        self,
        function: OrchestratorFunction,
        /,
        *,
        name: str | None = None,
        version: str | None = None,
    ) -> str:
        """Register an orchestrator without a decorator (bound methods too); return its name."""
        definitions = [
            registry.add_orchestrator(function, name=name, version=version)
            for registry in self._registries
        ]
        return definitions[0].name

    def add_activity(
        self,
        function: ActivityFunction,
        /,
        *,
        name: str | None = None,
        version: str | None = None,
        retry_policy: RetryPolicy | None = None,
        timeout: timedelta | float | None = None,
        executor: Executor = "thread",
    ) -> str:
        """Register an activity without a decorator (bound methods too); return its name."""
        definitions = [
            registry.add_activity(
                function,
                name=name,
                version=version,
                retry_policy=retry_policy,
                timeout=timeout,
                executor=executor,
            )
            for registry in self._registries
        ]
        return definitions[0].name


class Blueprint(Decorators):
    """A group of orchestrators and activities that any number of apps can take in.

    Write one in a module of its own, and attach it by ``app.register_blueprint(blueprint)``.
    What is added to the blueprint later reaches those apps too.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def __repr__(self) -> str:
        return f"<Blueprint {self.name!r}>"

    def attach(self, registry: Registry) -> None:
        """Add everything to an app's registry, now and from now on.

        Raises:
            RegistrationError: the app has other functions under the same names and versions.
        """
        if registry not in self._registries:
            registry.merge(self._registries[0])
            self._registries.append(registry)
