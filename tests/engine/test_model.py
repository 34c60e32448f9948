"""The engine against a small model: whatever it acknowledged, in any order, is neither lost nor twice.

The model knows for each instance what was sent to it, in order, and how much of that its history
has.  Workers come and go, the engine is closed or dies, and is opened again.
"""

from __future__ import annotations

import asyncio
import itertools
import shutil
import tempfile
from collections.abc import Awaitable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from attrs import define, field
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from durableflow._proto import task_hub_pb2 as pb
from durableflow.engine.engine import Engine
from durableflow.errors import CallError
from durableflow.protocol.status import Status
from tests.engine.driver import (
    COMPLETED,
    PENDING,
    RUNNING,
    SUSPENDED,
    TERMINATED,
    Activity,
    Client,
    LoopTime,
    Turn,
    Worker,
    crashed,
    kind,
    settle,
)

IDS = ("a", "b")
LIVE = {PENDING, RUNNING, SUSPENDED}
# Which of those that are there.  What is drawn must not depend on how many there are just now:
# Hypothesis repeats what it drew, and work comes when it comes.
WHICH = st.integers(0, 11)


@define
class Expected:
    """What the model knows of one instance."""

    execution: str = ""
    status: int = PENDING
    suspended: bool = False
    sent: list[str] = field(factory=list)
    had: int = 0
    turn: str | None = None
    scheduled: int = 0

    @property
    def live(self) -> bool:
        return self.status in LIVE

    @property
    def statuses(self) -> set[int]:
        """A suspension may wait for a turn in flight."""
        return {self.status, SUSPENDED} if self.live and self.suspended else {self.status}


def messages(events: Sequence[pb.HistoryEvent]) -> list[str]:
    """What was sent to an instance, among its events."""
    texts = {
        "eventRaised": lambda event: event.eventRaised.name,
        "taskCompleted": lambda event: f"task {event.taskCompleted.taskScheduledId}",
    }
    return [texts[kind(event)](event) for event in events if kind(event) in texts]


async def status_of(call: Awaitable[object]) -> Status | None:
    """How a call ended; None is well."""
    try:
        await call
    except CallError as error:
        return error.status
    return None


class Hub(RuleBasedStateMachine):
    """An engine and its model."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.file = self.folder / "hub.db"
        self.numbers = itertools.count(1)
        self.instances: dict[str, Expected] = {}
        self.turns: list[Turn] = []
        self.activities: list[Activity] = []
        self.runner = asyncio.Runner()
        self.dead: list[Engine] = []

    def run(self, step: Coroutine[Any, Any, None]) -> None:
        self.runner.run(step)

    def teardown(self) -> None:
        try:
            self.run(self.finish_everything())
        finally:
            self.run(self.close())
            self.runner.close()
            shutil.rmtree(self.folder)

    @initialize()
    def begin(self) -> None:
        async def step() -> None:
            self.time = LoopTime()
            await self.open(self.file)
            for instance_id in IDS:
                await self.client.start(id=instance_id)
                self.instances[instance_id] = Expected()
            await self.take()

        self.run(step())

    async def open(self, file: Path) -> None:
        self.file = file
        self.engine = Engine(file, synchronous="normal")
        await self.engine.open()
        self.client = Client(self.engine)
        await self.connect()

    async def connect(self, name: str = "worker") -> None:
        """A worker comes; what may have to run alone gets the time for it."""
        self.turns.clear()
        self.worker = Worker(self.engine, name, sessions=True)
        await self.worker.__aenter__()
        for _ in range(12):
            await self.time.advance(0.25)
            await asyncio.sleep(0.001)
        await self.take()

    async def take(self) -> None:
        """Take whatever the worker got, and compare it with what should have come."""
        await settle(self.engine)
        for instance_id in list(self.worker.waiting):
            if instance_id in IDS:
                turn = await self.worker.turn(instance_id)
                self.turns.append(turn)
                self.check_delivery(turn)
            else:
                activity = await self.worker.activity()
                self.activities.append(activity)
                assert not self.has_answer(activity)

    def has_answer(self, activity: Activity) -> bool:
        expected = self.instances.get(activity.id)
        execution = activity.request.orchestrationInstance.executionId.value
        if expected is None or expected.execution != execution:
            return False
        return f"task {activity.request.taskId}" in expected.sent

    def check_delivery(self, turn: Turn) -> None:
        expected = self.instances[turn.id]
        if expected.execution not in ("", turn.execution):
            return  # handed out just before the instance was replaced
        expected.execution = turn.execution
        expected.turn = turn.token
        coming = messages(turn.new)
        assert coming == expected.sent[expected.had :][: len(coming)]
        if turn.past:
            assert messages(turn.past) == expected.sent[: expected.had]

    # What clients do

    @rule(instance_id=st.sampled_from(IDS), replace=st.sampled_from([False, False, True]))
    def start(self, instance_id: str, replace: bool) -> None:
        async def step() -> None:
            everything = [*LIVE, COMPLETED, TERMINATED] if replace else None
            status = await status_of(self.client.start(id=instance_id, replace=everything))
            if replace or instance_id not in self.instances:
                assert status is None
                self.instances[instance_id] = Expected()
            else:
                assert status is Status.ALREADY_EXISTS
            await self.take()

        self.run(step())

    @rule(instance_id=st.sampled_from(IDS), count=st.integers(1, 3))
    def raise_events(self, instance_id: str, count: int) -> None:
        async def step() -> None:
            for _ in range(count):
                name = f"event {next(self.numbers)}"
                await self.ask(instance_id, self.client.raise_event(instance_id, name))
                expected = self.instances.get(instance_id)
                if expected is not None and expected.live:
                    expected.sent.append(name)
            await self.take()

        self.run(step())

    @rule(instance_id=st.sampled_from(IDS), suspended=st.booleans())
    def suspend_or_resume(self, instance_id: str, suspended: bool) -> None:
        async def step() -> None:
            call = self.client.suspend if suspended else self.client.resume
            await self.ask(instance_id, call(instance_id))
            if instance_id in self.instances:
                self.instances[instance_id].suspended = suspended
            await self.take()

        self.run(step())

    async def ask(self, instance_id: str, call: Awaitable[None]) -> None:
        """Make a call that only an instance that exists can answer."""
        status = await status_of(call)
        assert status is (None if instance_id in self.instances else Status.NOT_FOUND)

    @rule(instance_id=st.sampled_from(IDS), purge=st.booleans())
    def terminate_or_purge(self, instance_id: str, purge: bool) -> None:
        expected = self.instances.get(instance_id)

        async def terminate() -> None:
            await self.client.terminate(instance_id)
            if expected is not None and expected.live:
                expected.status = TERMINATED
                expected.had = len(expected.sent)
                expected.turn = None

        async def remove() -> None:
            count = await self.client.purge(instance_id)
            if expected is None or expected.live:
                assert count == 0
            else:
                assert count == 1
                del self.instances[instance_id]

        self.run(remove() if purge else terminate())

    # What workers do

    @rule(which=WHICH, activities=st.integers(0, 2), ends=st.sampled_from([0, 0, 1]))
    def answer_turn(self, which: int, activities: int, ends: int) -> None:
        if not self.turns:
            return
        turn = self.turns.pop(which % len(self.turns))

        async def step() -> None:
            await self.complete(turn, 0 if ends else activities, ends=bool(ends))
            await self.take()

        self.run(step())

    async def complete(self, turn: Turn, activities: int, *, ends: bool) -> None:
        expected = self.instances.get(turn.id)
        counts = expected is not None and expected.turn == turn.token
        first = expected.scheduled + 1 if counts else 1
        if ends:
            await turn.finish()
        else:
            await turn.call(*["charge"] * activities, first_id=first)
        if not counts:
            return
        expected.turn = None
        expected.had += len(messages(turn.new))
        expected.scheduled += activities
        expected.status = COMPLETED if ends else RUNNING
        history = await self.client.history(turn.id)
        assert messages(history) == expected.sent[: expected.had]

    @rule(which=WHICH)
    def answer_activity(self, which: int) -> None:
        if not self.activities:
            return
        activity = self.activities[which % len(self.activities)]

        async def step() -> None:
            await self.answer(activity)
            await self.take()

        self.run(step())

    async def answer(self, activity: Activity) -> None:
        """Answer an activity; the same may be answered again later, which must not count."""
        await activity.complete()
        expected = self.instances.get(activity.id)
        execution = activity.request.orchestrationInstance.executionId.value
        if expected is None or expected.execution != execution or not expected.live:
            return
        if not self.has_answer(activity):
            expected.sent.append(f"task {activity.request.taskId}")

    # What happens to everybody

    @rule(what=st.sampled_from(["worker", "restart", "crash", "crash"]))
    def upheaval(self, what: str) -> None:
        self.run(self.change(what))

    async def change(self, what: str) -> None:
        left = crashed(self.file, self.folder / f"crash {next(self.numbers)}")
        await self.worker.leave()
        for expected in self.instances.values():
            expected.turn = None
        if what == "worker":
            await self.connect(f"worker {next(self.numbers)}")
            return
        if what == "restart":
            await self.engine.close()
            await self.open(self.file)
        else:
            self.dead.append(self.engine)
            await self.open(left)
        # Answers of activities that were out go to the engine that runs now.
        self.activities = [Activity(self.engine, held.item) for held in self.activities]

    # What must hold

    @invariant()
    def states_are_as_expected(self) -> None:
        async def step() -> None:
            for instance_id in IDS:
                state = await self.client.find(instance_id)
                expected = self.instances.get(instance_id)
                assert (state is None) == (expected is None)
                if state is not None and expected is not None:
                    assert state.orchestrationStatus in expected.statuses
                    assert not state.HasField("failureDetails")

        self.run(step())

    async def finish_everything(self) -> None:
        """In the end everything that was acknowledged arrives, after a crash too, and once."""
        await self.change("crash")
        for instance_id, expected in self.instances.items():
            if expected.live and expected.suspended:
                await self.client.resume(instance_id)
                expected.suspended = False
        await self.take()
        while self.turns or self.activities:
            while self.activities:
                await self.answer(self.activities.pop())
            while self.turns:
                await self.complete(self.turns.pop(), 0, ends=False)
            await self.take()
        for instance_id, expected in self.instances.items():
            history = await self.client.history(instance_id)
            assert messages(history) == expected.sent[: expected.had]
            if expected.live:
                assert expected.had == len(expected.sent)
        await self.change("crash")
        assert self.turns == []

    async def close(self) -> None:
        await self.worker.leave()
        for engine in (self.engine, *self.dead):
            await engine.close()


TestHub = Hub.TestCase
TestHub.settings = settings(
    max_examples=25,
    stateful_step_count=15,
    deadline=None,
    # A failure is shown as it was found: each try takes real files, and time.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
