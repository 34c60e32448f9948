"""Names of the call metadata and request properties that durableflow adds to the protocol."""

from __future__ import annotations

from urllib.parse import quote, unquote

# GetWorkItems: this worker keeps sessions, so past events may be left out for it.
SESSIONS = "durableflow-sessions"

# GetWorkItems: how large a message this worker's connection takes, in bytes.
MAX_MESSAGE_BYTES = "durableflow-max-message-bytes"

# Abandon: why the worker gave an item back (kind: nondeterminism, no-version, long-turn, payload).
ABANDON_KIND = "durableflow-abandon-kind"
ABANDON_REASON = "durableflow-abandon-reason"

# Every call to an embedded engine served on loopback.
AUTHORIZATION = "authorization"

# Tag of an activity that is tried again: the number of the attempt, from 2.
ATTEMPT = "durableflow-attempt"

# OrchestratorRequest.properties: which turn the engine applied last, see ``Position``.
POSITION = "durableflow-position"

# The name of an event that an execution carries over to the next one of its instance, and that to
# its own next one: there may be children, of earlier executions, whose ids must not meet again.
LATER_EXECUTION = "durableflow-later-execution"

Metadata = tuple[tuple[str, str], ...]


def get(metadata: Metadata, key: str) -> str | None:
    """Return the last value of a key, or None."""
    return next((value for name, value in reversed(metadata) if name == key), None)


def encode_text(text: str) -> str:
    """Make any text fit for metadata, which is printable ASCII only."""
    return quote(text, safe=" :/,.;()[]{}'=+-_")


def decode_text(text: str) -> str:
    """Read what ``encode_text`` wrote."""
    return unquote(text)
