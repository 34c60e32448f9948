"""What orchestrators may call: ``Callees``."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeAlias

from durableflow.errors import NotRegisteredError
from durableflow.registry import ActivityDefinition, OrchestratorDefinition, Registry
from durableflow.replay.journal import Journal
from durableflow.replay.record import Record
from durableflow.signatures import Role
from durableflow.spelling import similar_names, why_mistaken

logger = logging.getLogger(__name__)

StartVersion: TypeAlias = Callable[[str, str | None, str | None], str | None]


class Callees:
    """Activities and orchestrators by function or by name; one for all sessions of a worker.

    Args:
        private_hub: The task hub, for people, if only this worker can serve it, so that what it
            does not have will never run; None if others can.
        start_version: Says which version a sub-orchestration gets, by its name, the version that
            was requested (None where none was, ``""`` for none) and the version of its parent.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        private_hub: str | None = None,
        start_version: StartVersion = lambda name, requested, parent: requested or None,
    ) -> None:
        self._registry = registry
        self._private_hub = private_hub
        self._start_version = start_version
        self._elsewhere: set[tuple[Role, str]] = set()

    def activity_of(self, function: Callable[..., Any]) -> ActivityDefinition:
        """Return the activity that a function is registered as.

        Raises:
            NotRegisteredError: it is none of this app's; says how to make it one.
        """
        return self._registry.activity_of(function)

    def orchestrator_of(self, function: Callable[..., Any]) -> OrchestratorDefinition:
        """Return the orchestrator that a function is registered as.

        Raises:
            NotRegisteredError: it is none of this app's; says how to make it one.
        """
        return self._registry.orchestrator_of(function)

    def start_version(self, name: str, requested: str | None, parent_version: str) -> str | None:
        """Return the version of a sub-orchestration; None for none.

        Args:
            requested: None where none was, ``""`` for none.
        """
        return self._start_version(name, requested, parent_version or None)

    def check_name(
        self, role: Role, name: str, version: str | None, journal: Journal, record: Record
    ) -> None:
        """Refuse the next request of an execution if it calls a name by mistake.

        A name that this app does not have may live elsewhere; it is warned about once, and the
        call waits for a worker that has it.  Where the history shows that the call was taken on
        once, that stands, whatever is registered today.

        Args:
            version: Of an activity; that of a child is not looked at.

        Raises:
            NotRegisteredError: with what was probably meant.
        """
        if self._is_here(role, name, version) or (role, name) in self._elsewhere:
            return
        if record.shows_call(journal.next_id, name):
            return
        known = self._names(role)
        mistake = self._why_mistaken(role, name, version, known)
        if mistake is not None:
            raise NotRegisteredError(mistake)
        if journal.is_silent:
            return
        self._elsewhere.add((role, name))
        similar = similar_names(name, known)
        logger.warning(
            "Orchestrator '%s', instance '%s', calls %s '%s'%s, which this app does not run; "
            "such calls wait for another worker that does.%s",
            journal.name,
            journal.instance_id,
            role,
            name,
            f" version '{version}'" if version and role == "activity" else "",
            f" Was {similar} meant?" if similar and name not in known else "",
        )

    def _is_here(self, role: Role, name: str, version: str | None) -> bool:
        if role == "orchestrator":
            return bool(self._registry.orchestrator_versions(name))
        return self._registry.find_activity(name, version) is not None

    def _names(self, role: Role) -> list[str]:
        if role == "orchestrator":
            return [definition.name for definition in self._registry.orchestrators()]
        return [definition.name for definition in self._registry.activities()]

    def _why_mistaken(
        self, role: Role, name: str, version: str | None, known: list[str]
    ) -> str | None:
        if name not in known:
            return why_mistaken(role, name, known, private_hub=self._private_hub)
        if self._private_hub is None:
            return None
        asked = f"not with '{version}'" if version else "not without one"
        versions = ", ".join(f"'{v}'" for v in self._registry.activity_versions(name))
        return (
            f"This app has activity '{name}' with version {versions}, but {asked}. A call by name asks for the "
            "version of the orchestration: give version=, call it by its function, or register one "
            "without a version, which runs them all."
        )
