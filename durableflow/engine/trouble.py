"""What a call says of trouble with the disk."""

from __future__ import annotations

from durableflow.errors import CallError, StorageError, StorageFullError
from durableflow.protocol.status import Status


def call_error(error: StorageError) -> CallError:
    """RESOURCE_EXHAUSTED while there is no space, UNAVAILABLE for any other trouble."""
    full = isinstance(error, StorageFullError)
    return CallError(Status.RESOURCE_EXHAUSTED if full else Status.UNAVAILABLE, str(error))
