"""What goes into the store in one transaction, and what comes out: rows, by table.  Pure."""

from __future__ import annotations

from typing import Final

from attrs import define, field, frozen

from durableflow.engine.rows import Row
from durableflow.engine.state import Instance

# How work that is out runs: with other work, with none, with other work after a while with none.
BESIDE: Final = 0
ALONE: Final = 1
CLEARED: Final = 2


@define(slots=True, eq=False)
class Batch:
    """The rows of one transaction, by table; written in the order of the fields.

    Attributes:
        removed: Keys of instances that go with everything of theirs.
        dropped: Keys of instances whose outstanding activities and timers go.
        ended: Keys of instances whose timers go.
        retired: Keys of executions that go with everything but their outstanding activities.
        forget_dispatches: Nothing is out any more, as at a clean end; what crashed as often as
            this is remembered (None: everything is).
    """

    removed: list[int] = field(factory=list)
    dropped: list[int] = field(factory=list)
    ended: list[int] = field(factory=list)
    retired: list[int] = field(factory=list)
    created: list[Row] = field(factory=list)
    changed: list[Row] = field(factory=list)
    chunks: list[tuple[int, bytes]] = field(factory=list)
    inbox_gone: list[tuple[int]] = field(factory=list)
    inbox: list[tuple[int, bytes]] = field(factory=list)
    activities_gone: list[tuple[int]] = field(factory=list)
    activities: list[tuple[int, bytes]] = field(factory=list)
    timers_gone: list[tuple[int]] = field(factory=list)
    timers: list[tuple[int, int, int, bytes]] = field(factory=list)
    returned: list[tuple[int]] = field(factory=list)
    dispatched: list[tuple[int, int, int]] = field(factory=list)
    meta: list[tuple[str, object]] = field(factory=list)
    forget_dispatches: int | None = None


@frozen
class TimerRow:
    """A timer as it is stored."""

    fire_at: int
    row: int
    timer_id: int
    stamp: bytes


@frozen
class Suspect:
    """Work that was out, or in quarantine, when the file was last closed.

    Attributes:
        alone: ``BESIDE``, ``ALONE`` or ``CLEARED``.
        crashes: How often its process died while it ran alone, not counting the last time.
    """

    item: int
    alone: int
    crashes: int


@frozen
class InstancePage:
    """Instances in the order of their creation, and where the next page begins (None: no more)."""

    instances: list[Instance]
    next: tuple[int, int] | None
