"""Which changes of the code an execution has met: ``Patches``, behind ``ctx.patched``.

A change is met for the first time either in a turn that the history shows to be over, which ran
without it, or in one that happens now.  In the second case a *marker* is recorded: an event that
the instance sends to itself, whose confirmation stays in the history.  The event itself means
nothing where an engine delivers it.  (``protocol.patches`` says what else a marker may be.)

A marker takes one of the numbers by which requests are counted.  Code that does not ask for the
change any more passes over that number, so the question can simply be deleted in time.

| the history has the marker            | the turn is over | answer                       |
|---------------------------------------|------------------|------------------------------|
| in this turn or in an earlier one     | any              | yes                          |
| in a later turn                       | yes              | no, until that turn          |
| nowhere                               | yes              | no, for the whole execution  |
| nowhere                               | no               | yes, and it is recorded      |
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from durableflow.protocol.patches import PATCHED, marker_of
from durableflow.replay.requests import SentEvent

if TYPE_CHECKING:
    from durableflow.replay.journal import Journal
    from durableflow.replay.record import Record
    from durableflow.replay.sources import Origin


def is_patched(change_id: str, journal: Journal, record: Record, origin: Origin) -> bool:
    """Say whether an execution runs with a change, and record it if it now does so first."""
    marker = marker_of(change_id)
    known = journal.patches.get(marker)
    if known is not None:
        return known
    turn = record.turn_of_patch(marker)
    if turn is not None:
        return turn <= journal.position
    is_new = not record.shows_turn_after(journal.position)
    journal.patches[marker] = is_new
    if is_new:
        journal.request(SentEvent(journal.instance_id, f"{PATCHED}{change_id}", None, origin))
    return is_new
