"""Says what keeps payloads from being stored or read at present: ``PayloadTrouble``."""

from __future__ import annotations

import logging

from durableflow.errors import PayloadDeniedError

logger = logging.getLogger(__name__)


class PayloadTrouble:
    """Warns of trouble when it begins or changes, for it may last for days.

    That access is denied somebody has to change: it is an error, and told once.

    Args:
        sentence: What it does; with a place for the instance's id and one for the trouble.
    """

    def __init__(self, sentence: str) -> None:
        self._sentence = sentence
        self._told = ""
        self._denied: set[str] = set()

    def tell(self, instance_id: str, error: Exception) -> None:
        """Tell of an instance that is kept waiting."""
        text, level = str(error), logging.DEBUG
        if isinstance(error, PayloadDeniedError):
            if text not in self._denied:
                self._denied.add(text)
                level = logging.ERROR
        elif text != self._told:
            self._told = text
            level = logging.WARNING
        logger.log(level, self._sentence, instance_id, error)

    def end(self) -> None:
        """Take note that it is over; should it begin again, that is told again."""
        self._told = ""
