"""How instances begin, end and touch one another.

Whatever one outcome does to several instances (a child starts, a child answers, an event is sent,
a termination spreads) happens here without suspension, so it is one unit of writes: everything
that is due goes into the same transaction.  Whoever calls has loaded the others before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from durableflow._proto import task_hub_pb2 as pb
from durableflow.engine import transitions
from durableflow.engine.activities import Activities
from durableflow.engine.batch import TimerRow
from durableflow.engine.core import Core
from durableflow.engine.outcome import ChildStart, Continuation, Outcome
from durableflow.engine.resident import Resident, wake
from durableflow.engine.state import CONTINUED_AS_NEW
from durableflow.engine.timers import Timers
from durableflow.engine.turns import Turns
from durableflow.hub.names import new_id


class Lifecycles:
    """Begins and ends instances in memory, and queues what the store must gain."""

    def __init__(
        self,
        core: Core,
        *,
        turns: Turns,
        activities: Activities,
        timers: Timers,
        next_key: Callable[[], int],
    ) -> None:
        self._clock = core.clock
        self._committer = core.committer
        self._working_set = core.working_set
        self._histories = core.histories
        self._delivery = core.delivery
        self._turns = turns
        self._activities = activities
        self._timers = timers
        self._next_key = next_key

    def create(
        self,
        request: pb.CreateInstanceRequest,
        parent: pb.ParentInstanceInfo | None = None,
        *,
        not_before: int = 0,
    ) -> Resident:
        """Make a new instance of a request that has an id; nobody else has that id.

        Args:
            not_before: It counts as created at this time, in µs, if the clock shows less.
        """
        instance, timer = transitions.create(
            request,
            key=self._next_key(),
            execution_id=request.executionId.value or new_id(),
            now=max(self._clock.now(), not_before),
            parent=parent,
        )
        resident = self._working_set.add(instance)
        writes = self._committer.writes(resident)
        writes.created = True
        for message in instance.inbox:
            writes.add_message(message)
        if timer is not None:
            writes.add_timer(timer)
            row = TimerRow(timer.fire_at, timer.row, timer.timer_id, timer.stamp)
            writes.then(partial(self._timers.add, row))
        self._turns.ready(resident)
        return resident

    def terminate(self, resident: Resident, output: str | None) -> None:
        """End a live instance at once, whatever it is doing."""
        now = self._clock.now()
        events = transitions.new_events(resident.instance, now)
        outcome = transitions.terminate(resident.instance, events, output, now)
        self._stop_work(resident)
        self._committer.writes(resident).drop_work()
        self._turns.apply(resident, outcome)

    def replace(self, old: Resident | None, request: pb.CreateInstanceRequest) -> Resident:
        """Make a new instance; an old one of its id goes, and whoever waits for it is told."""
        if old is not None:
            if not old.instance.is_terminal:
                self.terminate(old, None)
            self.remove(old)
        return self.create(request)

    def remove(self, resident: Resident) -> None:
        """Take an instance away with everything of its."""
        self._stop_work(resident)
        resident.gone = True
        self._histories.drop(resident)
        self._committer.writes(resident).removed = True
        self._working_set.settle(resident)
        wake(resident.start_waiters)
        wake(resident.completion_waiters)

    def carry_out(self, resident: Resident, outcome: Outcome) -> None:
        """Do to other instances what an applied outcome asks for."""
        for child in outcome.children:
            self._start_child(resident, child)
        for sent in outcome.sent:
            target = self._working_set.get(sent.instance_id)
            if target is not None and target is not resident and not target.instance.is_terminal:
                self._turns.add_message(target, sent.event)
        for termination in outcome.terminations:
            target = self._working_set.get(termination.instance_id)
            if target is not None:
                self.terminate_all(target, termination.output, recursive=termination.recursive)
        if resident.instance.is_terminal and resident.instance.parent is not None:
            self._answer(resident)

    def continue_as_new(
        self, resident: Resident, outcome: Outcome, continuation: Continuation
    ) -> None:
        """Replace an execution by its next generation; its outstanding activities still run."""
        old = resident.instance
        del old.inbox[: outcome.consumed]
        old.custom_status = outcome.custom_status
        instance = transitions.next_generation(
            old,
            continuation,
            key=self._next_key(),
            execution_id=new_id(),
            now=self._clock.now(),
        )
        old.status = CONTINUED_AS_NEW
        old.inbox.clear()
        old.timers.clear()
        resident.gone = True
        self._histories.drop(resident)
        self._committer.writes(resident).retire()
        new = self._working_set.add(instance)
        writes = self._committer.writes(new)
        writes.created = True
        for message in instance.inbox:
            writes.add_message(message)
        wake(resident.start_waiters)
        wake(resident.completion_waiters)
        self._turns.ready(new)

    def terminate_all(self, resident: Resident, output: str | None, *, recursive: bool) -> None:
        """End a live instance, and with ``recursive`` its live descendants that are loaded."""
        if resident.gone or resident.instance.is_terminal:
            return
        children = list(resident.instance.children) if recursive else []
        self.terminate(resident, output)
        for child_id in children:
            child = self._working_set.get(child_id)
            if child is not None:
                self.terminate_all(child, output, recursive=True)

    async def load(self, instance_id: str, *, with_family: bool) -> Resident | None:
        """Load an instance, and with its family also its parent and all its live descendants.

        Call it, and use what it loads, inside ``WorkingSet.holding``.
        """
        if not with_family:
            return await self._working_set.load(instance_id)
        root = await self.load_with_parent(instance_id)
        asked: set[str] = set()
        while root is not None and (missing := _missing(self._working_set.get, root) - asked):
            asked |= missing  # some of them may be gone by now
            await asyncio.gather(*(self._working_set.load(i) for i in missing))
        return self._working_set.get(instance_id)

    async def load_with_parent(self, instance_id: str) -> Resident | None:
        """Load an instance whose end may be near, and its parent, who is to hear of that.

        Call it, and use what it loads, inside ``WorkingSet.holding``.
        """
        resident = await self._working_set.load(instance_id)
        if resident is None or resident.instance.parent_id is None:
            return resident
        await self._working_set.load(resident.instance.parent_id)
        return self._working_set.get(instance_id)

    def _start_child(self, resident: Resident, child: ChildStart) -> None:
        existing = self._working_set.get(child.request.instanceId)
        if existing is not None:
            if not existing.instance.is_terminal:
                event = transitions.child_refused(
                    child.task_id, child.request.instanceId, self._clock.now()
                )
                self._turns.add_message(resident, event)
                return
            self.remove(existing)
        parent = pb.ParentInstanceInfo(taskScheduledId=child.task_id)
        parent.name.value = resident.instance.name
        if resident.instance.version is not None:
            parent.version.value = resident.instance.version
        parent.orchestrationInstance.instanceId = resident.instance.instance_id
        parent.orchestrationInstance.executionId.value = resident.instance.execution_id
        # Never before its parent, whatever the clock does: that is how it is known as its child.
        self.create(child.request, parent, not_before=resident.instance.created)
        resident.instance.children.add(child.request.instanceId)

    def _answer(self, resident: Resident) -> None:
        """Tell the parent that its child is done, if the execution that asked still waits."""
        instance = resident.instance
        parent = self._working_set.get(instance.parent_id or "")
        if parent is None:
            return
        parent.instance.children.discard(instance.instance_id)
        asked = pb.ParentInstanceInfo.FromString(instance.parent or b"").orchestrationInstance
        if parent.instance.is_terminal or asked.executionId.value != parent.instance.execution_id:
            return
        self._turns.add_message(parent, transitions.answer_of(instance, self._clock.now()))

    def _stop_work(self, resident: Resident) -> None:
        turn = resident.turn
        self._turns.release(resident)
        self._activities.drop(resident)
        if resident.wake is not None:
            resident.wake.cancel()
            resident.wake = None
        if turn is not None:
            self._delivery.pull(turn.stream)


def _missing(get: Callable[[str], Resident | None], root: Resident) -> set[str]:
    """The ids of live descendants that are not in memory."""
    missing: set[str] = set()
    waiting, seen = [root], {root}  # instances may have started each other
    while waiting:
        for child_id in waiting.pop().instance.children:
            child = get(child_id)
            if child is None:
                missing.add(child_id)
            elif child not in seen:
                seen.add(child)
                waiting.append(child)
    return missing
