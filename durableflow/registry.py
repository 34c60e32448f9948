"""The functions of an app: (kind, name, version) to definition; frozen while the app runs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final, Generic, TypeVar

from durableflow.definitions import (
    ActivityDefinition,
    Definition,
    Executor,
    OrchestratorDefinition,
)
from durableflow.errors import NotRegisteredError, RegistrationError
from durableflow.retry import RetryPolicy
from durableflow.signatures import (
    ABSENT,
    Parameter,
    Role,
    check_function,
    describe,
    enclosing_names,
    read_signature,
    source_of,
)
from durableflow.versioning import Version, is_same_release

__all__ = ["ABSENT", "ActivityDefinition", "OrchestratorDefinition", "Parameter", "Registry"]


class Registry:
    """What one app, or one blueprint, can run."""

    def __init__(self) -> None:
        self._orchestrators = _Table[OrchestratorDefinition]("orchestrator")
        self._activities = _Table[ActivityDefinition]("activity")
        self._runs = 0

    def add_orchestrator(
        self,
        function: Callable[..., Any],
        *,
        name: str | None = None,
        version: str | None = None,
    ) -> OrchestratorDefinition:
        """Register an orchestrator under its own name unless ``name`` is given.

        Raises:
            RegistrationError: the function, name or version does not do, another function has
                this name and version, or the app is running.
        """
        definition = OrchestratorDefinition(**_facts(function, "orchestrator", name, version))
        self._orchestrators.add(definition, frozen=self._runs > 0)
        return definition

    def add_activity(
        self,
        function: Callable[..., Any],
        *,
        name: str | None = None,
        version: str | None = None,
        retry_policy: RetryPolicy | None = None,
        timeout: timedelta | float | None = None,
        executor: Executor = "thread",
    ) -> ActivityDefinition:
        """Register an activity under its own name unless ``name`` is given.

        Raises:
            RegistrationError: the function, name, version or an option does not do, another
                function has this name and version, or the app is running.
        """
        facts = _facts(function, "activity", name, version)
        definition = ActivityDefinition(
            **facts, retry_policy=retry_policy, timeout=timeout, executor=executor
        )
        self._activities.add(definition, frozen=self._runs > 0)
        return definition

    def merge(self, other: Registry) -> None:
        """Add everything that another registry holds now.

        Raises:
            RegistrationError: as for adding; then nothing has been added.
        """
        frozen = self._runs > 0
        for orchestrator in other.orchestrators():
            self._orchestrators.check(orchestrator, frozen=frozen)
        for activity in other.activities():
            self._activities.check(activity, frozen=frozen)
        for orchestrator in other.orchestrators():
            self._orchestrators.add(orchestrator, frozen=frozen)
        for activity in other.activities():
            self._activities.add(activity, frozen=frozen)

    def freeze(self) -> None:
        """Refuse additions from now on; once for each run, undone by ``thaw``.

        Raises:
            RegistrationError: a function has annotations that cannot be evaluated, or cannot be
                found by the processes that are to run it.
        """
        problems = []
        for definition in (*self.orchestrators(), *self.activities()):
            try:
                definition.check()
            except RegistrationError as error:
                problems.append(str(error))
        if problems:
            raise RegistrationError("\n".join(problems))
        self._runs += 1

    def thaw(self) -> None:
        """Undo one ``freeze``."""
        self._runs -= 1

    def find_orchestrator(self, name: str, version: str | None) -> OrchestratorDefinition | None:
        """Return the orchestrator of exactly this name and version (None: the unversioned one)."""
        return self._orchestrators.find(name, version)

    def find_activity(self, name: str, version: str | None) -> ActivityDefinition | None:
        """Return the activity of this name and version, else the one without a version."""
        found = self._activities.find(name, version)
        return self._activities.find(name, None) if found is None else found

    def orchestrator_versions(self, name: str) -> tuple[str | None, ...]:
        """Return the versions registered under a name, None (without a version) first."""
        return self._orchestrators.versions(name)

    def activity_versions(self, name: str) -> tuple[str | None, ...]:
        """Return the versions registered under a name, None (without a version) first."""
        return self._activities.versions(name)

    def orchestrators(self) -> tuple[OrchestratorDefinition, ...]:
        """Return all orchestrators, by name and version."""
        return self._orchestrators.sorted()

    def activities(self) -> tuple[ActivityDefinition, ...]:
        """Return all activities, by name and version."""
        return self._activities.sorted()

    def orchestrator_of(self, function: Callable[..., Any]) -> OrchestratorDefinition:
        """Return what a function is registered as; the first, if it has several names.

        Raises:
            NotRegisteredError: it is not an orchestrator of this app; says how to make it one.
        """
        definition = self._orchestrators.of(function)
        if definition is None:
            raise NotRegisteredError(
                _not_registered(function, self._orchestrators, self._activities)
            )
        return definition

    def activity_of(self, function: Callable[..., Any]) -> ActivityDefinition:
        """Return what a function is registered as; the first, if it has several names.

        Raises:
            NotRegisteredError: it is not an activity of this app; says how to make it one.
        """
        definition = self._activities.of(function)
        if definition is None:
            raise NotRegisteredError(
                _not_registered(function, self._activities, self._orchestrators)
            )
        return definition


_D = TypeVar("_D", bound=Definition)


class _Table(Generic[_D]):
    """The definitions of one kind, found by name and version, or by function."""

    def __init__(self, role: Role) -> None:
        self.role: Final = role
        self._definitions: dict[tuple[str, str | None], _D] = {}
        self._versions: dict[str, tuple[str | None, ...]] = {}
        # Of functions that were replaced too: whoever still holds one means its successor.
        self._keys: dict[Callable[..., Any], tuple[str, str | None]] = {}

    def add(self, definition: _D, *, frozen: bool) -> None:
        self.check(definition, frozen=frozen)
        key = (definition.name, definition.version)
        self._definitions[key] = definition
        self._keys.setdefault(definition.function, key)
        versions = {*self.versions(definition.name), definition.version}
        self._versions[definition.name] = tuple(sorted(versions, key=_order))

    def find(self, name: str, version: str | None) -> _D | None:
        return self._definitions.get((name, version))

    def of(self, function: Callable[..., Any]) -> _D | None:
        try:
            return self._definitions[self._keys[function]]
        except (KeyError, TypeError):  # TypeError: not hashable, so no function at all
            return None

    def versions(self, name: str) -> tuple[str | None, ...]:
        return self._versions.get(name, ())

    def sorted(self) -> tuple[_D, ...]:
        return tuple(
            self._definitions[name, version]
            for name in sorted(self._versions)
            for version in self._versions[name]
        )

    def check(self, new: _D, *, frozen: bool) -> None:
        """Raise RegistrationError if the definition cannot be added."""
        old = self.find(new.name, new.version)
        if old is not None and _replaces(new, old, frozen=frozen):
            return
        if frozen:
            raise RegistrationError(
                f"The {new.label} ({new.source}) cannot be registered while the app runs: what it "
                "serves was announced when it started. Register it before, or stop the app first."
            )
        if old is not None:
            raise RegistrationError(
                f"The {new.label} is registered twice: {describe(old.function)} and "
                f"{describe(new.function)}. Give one of them another name= or version=, "
                "or remove it."
            )
        self._check_release(new)

    def _check_release(self, new: _D) -> None:
        for version in self.versions(new.name):
            if new.version and version and is_same_release(version, new.version):
                raise RegistrationError(
                    f"The {new.label} ({new.source}) is the same release as version '{version}' "
                    f"({self._definitions[new.name, version].source}), but instances find theirs "
                    "by its exact text. Write both alike, or remove one."
                )


def _order(version: str | None) -> Version:
    return Version(version or "")


def _replaces(new: Definition, old: Definition, *, frozen: bool) -> bool:
    """Whether this is the same function once more, after an edit in a notebook or a reload."""
    if (new.function.__module__, new.function.__qualname__) != (
        old.function.__module__,
        old.function.__qualname__,
    ):
        return False
    if _is_interactive(new.function):
        return True
    return not frozen and new.module_run is not old.module_run


def _is_interactive(function: Callable[..., Any]) -> bool:
    """Whether a function was typed into a prompt or a notebook, rather than read from a file."""
    module = sys.modules.get(function.__module__)
    return source_of(function).startswith("<") or (
        module is not None and not hasattr(module, "__file__")
    )


def _module_run(function: Callable[..., Any]) -> object:
    """Return what differs between two executions of a module: importing it makes a new spec."""
    return getattr(sys.modules.get(function.__module__), "__spec__", None)


def _facts(function: Any, role: Role, name: str | None, version: str | None) -> dict[str, Any]:
    """Check what was given to a decorator; return the fields of the definition."""
    check_function(function, role)
    where = describe(function)
    name = function.__name__ if name is None else name
    if not isinstance(name, str) or not name.strip() or name == "<lambda>":
        raise RegistrationError(
            f"{where} needs a name that is text; name={name!r} is none. "
            f'Write @app.{role}(name="...").'
        )
    if version is not None and (not isinstance(version, str) or not version.strip()):
        raise RegistrationError(
            f"{where}: version={version!r} is no version. Write it as text, such as "
            'version="1.0.0", or leave it out to run every version.'
        )
    signature = read_signature(function, role, enclosing_names(function))
    return {
        "name": name,
        "version": version,
        "function": function,
        "source": source_of(function),
        "early_signature": signature if signature.unresolved is None else None,
        "module_run": _module_run(function),
    }


def _not_registered(function: Any, wanted: _Table[Any], other: _Table[Any]) -> str:
    role = wanted.role
    name = getattr(function, "__qualname__", None)
    if not callable(function) or name is None:
        return (
            f"An {role} is referred to by its function or by its name as text, "
            f"not by {type(function).__name__}."
        )
    where = describe(function)
    if other.of(function) is not None:
        called = {"orchestrator": "a sub-orchestrator", "activity": "an activity"}[other.role]
        return f"{where} is registered as an {other.role}, not as an {role}. Call it as {called}."
    twin = next((d for d in wanted.sorted() if d.function.__qualname__ == name), None)
    if twin is not None:
        return (
            f"{where} is not registered with this app, but another function of that name is "
            f"({twin.source}). If that is the same file, it was loaded twice; start it with "
            "`python -m durableflow run module:app`."
        )
    return (
        f"{where} is not registered with this app. Decorate it with @app.{role}, "
        f"or call app.add_{role}({function.__name__})."
    )
