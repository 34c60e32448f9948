"""What the parts of one incarnation share."""

from __future__ import annotations

from attrs import frozen

from durableflow.engine.clock import Clock
from durableflow.engine.committer import Committer
from durableflow.engine.delivery import Delivery
from durableflow.engine.histories import Histories
from durableflow.engine.jobs import JobThread
from durableflow.engine.store import Reader
from durableflow.engine.working_set import WorkingSet


@frozen(eq=False)
class Core:
    """Memory, disk, time and streams, as turns, activities and clients' calls use them."""

    clock: Clock
    committer: Committer
    working_set: WorkingSet
    histories: Histories
    delivery: Delivery
    reading: JobThread
    reader: Reader
