"""New names for instances, executions, hubs and incarnations: random, never taken from data."""

from __future__ import annotations

import secrets
from uuid import uuid4


def new_id() -> str:
    """A name that no other instance, execution or hub has: 32 hexadecimal digits."""
    return uuid4().hex


def new_incarnation() -> str:
    """A name for one reading of the file; short, since every orchestrator token begins with it."""
    return secrets.token_hex(6)
