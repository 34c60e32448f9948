"""The activities that orchestrators may call: ``Callees``."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from durableflow.errors import NotRegisteredError
from durableflow.registry import ActivityDefinition, Registry
from durableflow.replay.journal import Journal
from durableflow.replay.record import Record
from durableflow.spelling import similar_names, why_mistaken

logger = logging.getLogger(__name__)


class Callees:
    """Activities by function or by name; one for all sessions of a worker.

    Args:
        private_hub: The task hub, for people, if only this worker can serve it, so that what it
            does not have will never run; None if others can.
    """

    def __init__(self, registry: Registry, *, private_hub: str | None = None) -> None:
        self._registry = registry
        self._private_hub = private_hub
        self._elsewhere: set[str] = set()

    def of_function(self, function: Callable[..., Any]) -> ActivityDefinition:
        """Return the activity that a function is registered as.

        Raises:
            NotRegisteredError: it is none of this app's; says how to make it one.
        """
        return self._registry.activity_of(function)

    def check_name(self, name: str, journal: Journal, record: Record) -> None:
        """Refuse the next request of an execution if it calls a name by mistake.

        A name that this app does not have may live elsewhere; it is warned about once, and the
        call waits for a worker that has it.  Where the history shows that the call was taken on
        once, that stands, whatever is registered today.

        Raises:
            NotRegisteredError: with what was probably meant.
        """
        if name in self._elsewhere or self._registry.find_activity(name, None) is not None:
            return
        if record.shows_call(journal.last_id + 1, name):
            return
        known = [definition.name for definition in self._registry.activities()]
        mistake = self._why_mistaken(name, known)
        if mistake is not None:
            raise NotRegisteredError(mistake)
        if journal.is_silent:
            return
        self._elsewhere.add(name)
        similar = similar_names(name, known)
        logger.warning(
            "Orchestrator '%s', instance '%s', calls activity '%s', which this app does not run; "
            "such calls wait for another worker that does.%s",
            journal.name,
            journal.instance_id,
            name,
            f" Was {similar} meant?" if similar else "",
        )

    def _why_mistaken(self, name: str, known: list[str]) -> str | None:
        if name not in known:
            return why_mistaken("activity", name, known, private_hub=self._private_hub)
        if self._private_hub is None:
            return None
        return (
            f"This app has activity '{name}' in certain versions only, and a call by name asks for "
            "none of them. Call it by its function, or register one without a version."
        )
