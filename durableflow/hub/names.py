"""New names for instances, executions, hubs and workers: random, never taken from data.

They come from a generator that the system's randomness has seeded, not from the system each time:
that would cost a system call, and with it this thread's turn at the interpreter.  The names are
unique, not secret; secrets come from the module ``secrets``.
"""

from __future__ import annotations

import os
from random import Random

_random = Random(os.urandom(32))  # noqa: S311 - names are no secrets


def new_id() -> str:
    """A name that nothing else has: 32 hexadecimal digits."""
    return f"{_random.getrandbits(128):032x}"


def new_incarnation() -> str:
    """A name for one reading of the file; short, since every orchestrator token begins with it."""
    return f"{_random.getrandbits(48):012x}"


def _seed_anew() -> None:
    _random.seed(os.urandom(32))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_seed_anew)
