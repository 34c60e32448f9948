"""What orchestrators may call: ``Callees``."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from durableflow.errors import NotRegisteredError
from durableflow.registry import ActivityDefinition, OrchestratorDefinition, Registry
from durableflow.replay.journal import Journal
from durableflow.replay.record import Record
from durableflow.signatures import Role
from durableflow.spelling import similar_names, why_mistaken

logger = logging.getLogger(__name__)


class Callees:
    """Activities and orchestrators by function or by name; one for all sessions of a worker.

    Args:
        private_hub: The task hub, for people, if only this worker can serve it, so that what it
            does not have will never run; None if others can.
        start_version: Says which version a sub-orchestration gets that was asked for without
            one, by its name and the version of its parent.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        private_hub: str | None = None,
        start_version: Callable[[str, str | None], str | None] = lambda name, parent: None,
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

    def start_version(self, name: str, parent_version: str) -> str | None:
        """Return the version of a sub-orchestration that was asked for without one."""
        return self._start_version(name, parent_version or None)

    def check_name(self, role: Role, name: str, journal: Journal, record: Record) -> None:
        """Refuse the next request of an execution if it calls a name by mistake.

        A name that this app does not have may live elsewhere; it is warned about once, and the
        call waits for a worker that has it.  Where the history shows that the call was taken on
        once, that stands, whatever is registered today.

        Raises:
            NotRegisteredError: with what was probably meant.
        """
        if self._is_here(role, name) or (role, name) in self._elsewhere:
            return
        if record.shows_call(journal.last_id + 1, name):
            return
        known = self._names(role)
        mistake = self._why_mistaken(role, name, known)
        if mistake is not None:
            raise NotRegisteredError(mistake)
        if journal.is_silent:
            return
        self._elsewhere.add((role, name))
        similar = similar_names(name, known)
        logger.warning(
            "Orchestrator '%s', instance '%s', calls %s '%s', which this app does not run; "
            "such calls wait for another worker that does.%s",
            journal.name,
            journal.instance_id,
            role,
            name,
            f" Was {similar} meant?" if similar else "",
        )

    def _is_here(self, role: Role, name: str) -> bool:
        if role == "orchestrator":
            return bool(self._registry.orchestrator_versions(name))
        return self._registry.find_activity(name, None) is not None

    def _names(self, role: Role) -> list[str]:
        if role == "orchestrator":
            return [definition.name for definition in self._registry.orchestrators()]
        return [definition.name for definition in self._registry.activities()]

    def _why_mistaken(self, role: Role, name: str, known: list[str]) -> str | None:
        if name not in known:
            return why_mistaken(role, name, known, private_hub=self._private_hub)
        if self._private_hub is None:
            return None
        return (
            f"This app has activity '{name}' in certain versions only, and a call by name asks for "
            "none of them. Call it by its function, or register one without a version."
        )
