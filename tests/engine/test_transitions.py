"""Transitions conserve messages: whatever arrives is waiting or is history, once, in order."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from durableflow._proto import task_hub_pb2 as pb
from durableflow.engine import state, transitions
from durableflow.engine.actions import ACTION_KINDS
from durableflow.engine.state import Message

NOW = 1_700_000_000_000_000


def response(
    *actions: pb.OrchestratorAction, processed: int | None = None
) -> pb.OrchestratorResponse:
    made = pb.OrchestratorResponse(actions=actions)
    if processed is not None:
        made.numEventsProcessed.value = processed
    return made


def schedule(number: int) -> pb.OrchestratorAction:
    return pb.OrchestratorAction(id=number, scheduleTask=pb.ScheduleTaskAction(name="charge"))


def timer(number: int) -> pb.OrchestratorAction:
    action = pb.OrchestratorAction(id=number)
    action.createTimer.fireAt.seconds = NOW // 1_000_000 + number
    return action


def complete(status: int = state.COMPLETED, result: str | None = None) -> pb.OrchestratorAction:
    action = pb.OrchestratorAction(id=999)
    action.completeOrchestration.orchestrationStatus = status
    if result is not None:
        action.completeOrchestration.result.value = result
    return action


def started(**fields: object) -> state.Instance:
    instance, _ = transitions.create(
        pb.CreateInstanceRequest(instanceId="a", name="order", **fields),
        key=7,
        execution_id="e",
        now=NOW,
    )
    return instance


def kinds(chunk: pb.HistoryChunk) -> list[str]:
    return [event.WhichOneof("eventType") for event in chunk.events]


class Mailbox(RuleBasedStateMachine):
    """One instance, driven by every message in every order."""

    def __init__(self) -> None:
        super().__init__()
        self.start()

    def start(self) -> None:
        self.instance = started()
        self.history: list[pb.HistoryEvent] = []
        self.sent = 0
        self.scheduled = 0
        self.answered = 0
        self.turn: list[pb.HistoryEvent] | None = None
        self.row = self.instance.inbox[-1].row

    def deliver(self, event: pb.HistoryEvent) -> None:
        self.row += 1
        self.instance.inbox.append(Message(self.row, event))

    def alive(self) -> bool:
        return not self.instance.is_terminal

    @precondition(alive)
    @rule()
    def raise_event(self) -> None:
        self.sent += 1
        self.deliver(transitions.event_raised(pb.RaiseEventRequest(name=f"event {self.sent}"), NOW))

    @precondition(lambda self: self.alive() and self.instance.activities)
    @rule(data=st.data())
    def answer_activity(self, data: st.DataObject) -> None:
        row = data.draw(st.sampled_from(sorted(self.instance.activities)))
        task_id = self.instance.activities.pop(row)
        self.answered += 1
        self.deliver(transitions.task_result(task_id, pb.ActivityResponse(), NOW))

    @precondition(lambda self: self.turn is None and self.instance.is_runnable)
    @rule()
    def begin_turn(self) -> None:
        self.turn = transitions.new_events(self.instance, NOW)

    @precondition(lambda self: self.turn is not None and self.alive())
    @rule(activities=st.integers(0, 3), left=st.integers(0, 3))
    def apply_turn(self, activities: int, left: int) -> None:
        actions = [schedule(self.scheduled + n + 1) for n in range(activities)]
        self.scheduled += activities
        processed = max(1, len(self.turn) - left)
        outcome = transitions.apply_turn(
            self.instance, self.turn, response(*actions, processed=processed), NOW
        )
        self.absorb(outcome)

    @precondition(lambda self: self.turn is not None and self.alive())
    @rule()
    def finish(self) -> None:
        self.absorb(transitions.apply_turn(self.instance, self.turn, response(complete()), NOW))

    @precondition(lambda self: self.alive() and not self.instance.suspended)
    @rule()
    def suspend(self) -> None:
        in_turn = self.turn is not None
        self.deliver(transitions.suspend(self.instance, None, NOW, in_turn=in_turn))

    @precondition(lambda self: self.alive() and self.instance.suspended)
    @rule()
    def resume(self) -> None:
        self.deliver(transitions.resume(self.instance, None, NOW))

    def absorb(self, outcome: transitions.Outcome) -> None:
        transitions.absorb(self.instance, outcome)
        self.history += outcome.chunk.events
        self.turn = None

    @precondition(lambda self: self.instance.is_terminal)
    @rule()
    def start_again(self) -> None:
        self.start()

    @invariant()
    def every_event_is_waiting_or_history_once_and_in_order(self) -> None:
        if self.instance.is_terminal:
            return
        everything = self.history + [message.event for message in self.instance.inbox]
        raised = [e.eventRaised.name for e in everything if e.HasField("eventRaised")]
        assert raised == [f"event {n + 1}" for n in range(self.sent)]

    @invariant()
    def every_activity_is_outstanding_or_answered_once(self) -> None:
        if self.instance.is_terminal:
            return
        everything = self.history + [message.event for message in self.instance.inbox]
        answers = [
            e.taskCompleted.taskScheduledId for e in everything if e.HasField("taskCompleted")
        ]
        outstanding = list(self.instance.activities.values())
        assert sorted(answers + outstanding) == list(range(1, self.scheduled + 1))

    @invariant()
    def the_length_of_the_history_is_known(self) -> None:
        assert self.instance.events == len(self.history)


TestMailbox = Mailbox.TestCase


def test_a_turn_confirms_each_action_and_closes() -> None:
    instance = started()
    events = transitions.new_events(instance, NOW)

    outcome = transitions.apply_turn(instance, events, response(schedule(1), timer(2)), NOW)

    assert kinds(outcome.chunk) == [
        "orchestratorStarted",
        "executionStarted",
        "taskScheduled",
        "timerCreated",
        "orchestratorCompleted",
    ]
    assert [event.eventId for event in outcome.chunk.events] == [-1, -1, 1, 2, -1]


def test_a_finished_instance_ends_with_execution_completed() -> None:
    instance = started()
    events = transitions.new_events(instance, NOW)

    outcome = transitions.apply_turn(instance, events, response(complete(result='"ok"')), NOW)
    transitions.absorb(instance, outcome)

    assert kinds(outcome.chunk)[-2:] == ["orchestratorCompleted", "executionCompleted"]
    assert outcome.chunk.events[-1].executionCompleted.result.value == '"ok"'
    assert (instance.status, instance.output, instance.completed) == (state.COMPLETED, '"ok"', NOW)


def test_actions_beside_a_completion_are_carried_out() -> None:
    instance = started()
    events = transitions.new_events(instance, NOW)

    outcome = transitions.apply_turn(instance, events, response(schedule(1), complete()), NOW)
    transitions.absorb(instance, outcome)

    assert instance.is_terminal
    assert list(instance.activities.values()) == [1]


def test_an_action_that_is_not_carried_out_fails_the_instance_and_names_it() -> None:
    instance = started()
    action = pb.OrchestratorAction(id=1, sendEntityMessage=pb.SendEntityMessageAction())
    events = transitions.new_events(instance, NOW)

    outcome = transitions.apply_turn(instance, events, response(action, complete()), NOW)
    transitions.absorb(instance, outcome)

    failure = pb.TaskFailureDetails.FromString(instance.failure)
    assert instance.status == state.FAILED
    assert "sendEntityMessage" in failure.errorMessage
    assert failure.isNonRetriable


def test_every_kind_of_action_has_its_place() -> None:
    oneof = pb.OrchestratorAction.DESCRIPTOR.oneofs_by_name["orchestratorActionType"]

    assert {field.name for field in oneof.fields} == ACTION_KINDS


def test_an_empty_failure_message_is_still_a_failure() -> None:
    answer = pb.ActivityResponse(failureDetails=pb.TaskFailureDetails())

    event = transitions.task_result(1, answer, NOW)

    assert event.WhichOneof("eventType") == "taskFailed"


def test_absent_and_empty_results_differ() -> None:
    absent = transitions.task_result(1, pb.ActivityResponse(), NOW)
    empty = pb.ActivityResponse()
    empty.result.value = ""

    assert not absent.taskCompleted.HasField("result")
    assert transitions.task_result(1, empty, NOW).taskCompleted.HasField("result")


def test_time_within_an_instance_never_goes_back() -> None:
    instance = started()
    first = transitions.new_events(instance, NOW)
    transitions.absorb(instance, transitions.apply_turn(instance, first, response(), NOW))

    later = transitions.new_events(instance, NOW - 5_000_000)

    assert later[0].timestamp == first[0].timestamp


def test_a_retry_gets_a_row_of_its_own_for_the_same_task_id() -> None:
    instance = started()
    rows = []
    for _ in range(2):
        events = transitions.new_events(instance, NOW)
        outcome = transitions.apply_turn(instance, events, response(schedule(1)), NOW)
        transitions.absorb(instance, outcome)
        rows.append(outcome.activities[0].row)

    assert rows[0] != rows[1]
    assert list(instance.activities.values()) == [1, 1]


def test_termination_keeps_what_waited_in_the_history() -> None:
    instance = started()
    events = transitions.new_events(instance, NOW)

    outcome = transitions.terminate(instance, events, '"stop"', NOW)
    transitions.absorb(instance, outcome)

    assert kinds(outcome.chunk) == [
        "orchestratorStarted",
        "executionStarted",
        "executionTerminated",
        "orchestratorCompleted",
        "executionCompleted",
    ]
    assert (instance.status, instance.output) == (state.TERMINATED, '"stop"')
    assert not instance.inbox


def test_a_timer_is_due_no_earlier_than_its_nanoseconds_say() -> None:
    instance = started()
    action = pb.OrchestratorAction(id=1)
    action.createTimer.fireAt.nanos = 1_001
    events = transitions.new_events(instance, NOW)

    outcome = transitions.apply_turn(instance, events, response(action), NOW)

    assert outcome.timers[0].fire_at == 2


def test_a_start_in_the_future_is_held_back() -> None:
    request = pb.CreateInstanceRequest(instanceId="a", name="order")
    request.scheduledStartTimestamp.seconds = NOW // 1_000_000 + 60

    instance, held = transitions.create(request, key=1, execution_id="e", now=NOW)

    assert held is not None
    assert held.fire_at == NOW // 1_000_000 * 1_000_000 + 60_000_000
    assert not instance.is_runnable


def test_an_instance_whose_history_is_full_fails_unless_it_ends_or_starts_over() -> None:
    outcomes = []
    for actions in ((schedule(1),), (complete(),), (complete(state.CONTINUED_AS_NEW),)):
        instance = started()
        instance.events = state.MOST_EVENTS
        events = transitions.new_events(instance, NOW)
        outcomes.append(transitions.apply_turn(instance, events, response(*actions), NOW))
    too_long, ended, renewed = outcomes

    assert too_long.status == state.FAILED
    assert "continue_as_new" in pb.TaskFailureDetails.FromString(too_long.failure).errorMessage
    assert (ended.status, ended.failure) == (state.COMPLETED, None)
    assert (renewed.continued is not None, renewed.failure) == (True, None)


def test_the_failure_of_a_child_whose_history_is_full_reaches_its_parent() -> None:
    parent = pb.ParentInstanceInfo()
    parent.orchestrationInstance.instanceId = "p"
    request = pb.CreateInstanceRequest(instanceId="a", name="order")
    child, _ = transitions.create(request, key=7, execution_id="e", now=NOW, parent=parent)
    before = transitions.targets(child, response(schedule(1)))
    child.events = state.MOST_EVENTS

    assert (before, transitions.targets(child, response(schedule(1)))) == ({}, {"p": False})
