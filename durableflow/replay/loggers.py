"""Loggers for orchestrators: what was logged once is not logged again at each replay."""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import Any

from durableflow.replay.journal import Journal


class ReplaySafeLogger(logging.LoggerAdapter[logging.Logger]):
    """Passes messages on unless the code is replaying; adds the field ``instance_id``."""

    def __init__(self, logger: logging.Logger, journal: Journal) -> None:
        super().__init__(logger, {"instance_id": journal.instance_id})
        self._journal = journal

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 -- the name is logging's
        """Whether a message of this level would be logged now."""
        return not self._journal.is_silent and super().isEnabledFor(level)

    def process(
        self, msg: Any, kwargs: MutableMapping[str, Any]
    ) -> tuple[Any, MutableMapping[str, Any]]:
        """Add the field to those of the call."""
        kwargs["extra"] = {**(self.extra or {}), **(kwargs.get("extra") or {})}
        return msg, kwargs
