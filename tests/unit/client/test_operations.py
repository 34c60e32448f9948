from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from durableflow._proto import task_hub_pb2 as pb
from durableflow.client import (
    Client,
    ClientCore,
    InstanceId,
    OrchestrationIdReusePolicy,
    OrchestrationQuery,
    OrchestrationStatus,
)
from durableflow.errors import (
    ConversionError,
    InstanceAlreadyExistsError,
    InstanceNotFoundError,
    OrchestrationFailedError,
    OutcomeUnknownError,
    PayloadTooLargeError,
    UsageError,
    WaitTimeoutError,
)
from durableflow.protocol.status import Status
from durableflow.registry import Registry
from durableflow.replay import OrchestrationContext

StateMessage = Callable[..., pb.OrchestrationState]

POLICY = OrchestrationIdReusePolicy
NOBODY = pb.GetInstanceResponse(exists=False)


def found(state: pb.OrchestrationState) -> pb.GetInstanceResponse:
    return pb.GetInstanceResponse(exists=True, orchestrationState=state)


def double(ctx: OrchestrationContext, number: int) -> int:
    return 2 * number


def test_schedule_returns_the_id_with_the_type_of_the_output(
    client: Client, hub: Any, registry: Registry
) -> None:
    registry.add_orchestrator(double)
    hub.answers("start_instance", pb.CreateInstanceResponse())

    instance_id = client.schedule_new_orchestration("double", input=4, instance_id="a1")

    assert instance_id == "a1"
    assert instance_id.output_type is int
    assert hub.requests[0].input.value == "4"


def test_nothing_is_sent_when_the_input_cannot_travel(client: Client, hub: Any) -> None:
    with pytest.raises(ConversionError, match="input of orchestrator 'x'"):
        client.schedule_new_orchestration("x", input=float("nan"))

    assert hub.requests == []


@pytest.mark.parametrize(
    ("send", "place"),
    [
        (lambda c, data: c.schedule_new_orchestration("x", input=data), "input of orchestrator"),
        (lambda c, data: c.raise_orchestration_event("a1", "go", data=data), "data of event 'go'"),
        (lambda c, data: c.terminate_orchestration("a1", output=data), "output of terminate"),
    ],
    ids=["start", "event", "terminate"],
)
def test_nothing_is_sent_that_is_too_large(client: Client, hub: Any, send: Any, place: str) -> None:
    with pytest.raises(PayloadTooLargeError, match=f"The {place}.* is too large: 17,000,002 bytes"):
        send(client, "x" * 17_000_000)

    assert hub.requests == []


def test_schedule_with_an_id_of_its_own_survives_a_broken_connection(
    client: Client, hub: Any
) -> None:
    hub.answers("start_instance", Status.UNAVAILABLE, Status.ALREADY_EXISTS)

    instance_id = client.schedule_new_orchestration("x")

    assert [request.instanceId for request in hub.requests] == [instance_id] * 2
    assert hub.requests[0] is not hub.requests[1]


def test_id_that_exists_after_a_broken_connection_may_be_anybodys(client: Client, hub: Any) -> None:
    hub.answers("start_instance", Status.UNAVAILABLE, Status.ALREADY_EXISTS)

    with pytest.raises(OutcomeUnknownError, match="from this call or from another"):
        client.schedule_new_orchestration("x", instance_id="a1")


def test_id_that_exists_is_refused(client: Client, hub: Any) -> None:
    hub.answers("start_instance", Status.ALREADY_EXISTS)

    with pytest.raises(
        InstanceAlreadyExistsError, match=r"holds an instance 'a1' already.*reuse_id_policy="
    ):
        client.schedule_new_orchestration("x", instance_id="a1")


def test_live_instance_is_not_replaced_by_a_policy_for_ended_ones(client: Client, hub: Any) -> None:
    hub.answers("start_instance", Status.ALREADY_EXISTS)

    with pytest.raises(InstanceAlreadyExistsError, match="TERMINATE_AND_REPLACE"):
        client.schedule_new_orchestration(
            "x", instance_id="a1", reuse_id_policy=POLICY.REPLACE_TERMINAL
        )


def test_existing_instance_can_be_used(client: Client, hub: Any) -> None:
    hub.answers("start_instance", Status.ALREADY_EXISTS)

    instance_id = client.schedule_new_orchestration(
        "x", instance_id="a1", reuse_id_policy=POLICY.USE_EXISTING
    )

    assert instance_id == "a1"


@pytest.mark.parametrize("status", [Status.UNAVAILABLE, Status.DEADLINE_EXCEEDED])
@pytest.mark.parametrize("policy", [POLICY.REPLACE_TERMINAL, POLICY.TERMINATE_AND_REPLACE])
def test_start_that_would_replace_its_own_first_try_is_not_sent_twice(
    client: Client, hub: Any, policy: OrchestrationIdReusePolicy, status: Status
) -> None:
    hub.answers("start_instance", status)

    with pytest.raises(OutcomeUnknownError):
        client.schedule_new_orchestration("x", instance_id="a1", reuse_id_policy=policy)
    assert len(hub.requests) == 1


def test_run_returns_the_output(
    client: Client, hub: Any, registry: Registry, state_message: StateMessage
) -> None:
    registry.add_orchestrator(double)
    hub.answers("start_instance", pb.CreateInstanceResponse())
    hub.answers("wait_for_instance_completion", found(state_message(output="8")))

    assert client.run_orchestration(double, input=4, timeout=timedelta(minutes=1)) == 8
    assert hub.requests[1].getInputsAndOutputs
    assert hub.timeouts[1] == pytest.approx(60, abs=5)


def test_run_raises_what_failed(client: Client, hub: Any, state_message: StateMessage) -> None:
    failure = pb.TaskFailureDetails(errorType="builtins.ValueError", errorMessage="no")
    hub.answers("start_instance", pb.CreateInstanceResponse())
    hub.answers(
        "wait_for_instance_completion", found(state_message("FAILED", failureDetails=failure))
    )

    with pytest.raises(OrchestrationFailedError, match="ValueError: no"):
        client.run_orchestration("x")


def test_state_of_an_unknown_instance_is_none(client: Client, hub: Any) -> None:
    hub.answers("get_instance", NOBODY)

    assert client.get_orchestration_state("a1b2") is None


def test_state_keeps_the_type_that_the_id_knows(
    client: Client, hub: Any, state_message: StateMessage
) -> None:
    hub.answers("get_instance", found(state_message(output='"7"')))
    instance_id: InstanceId[str] = InstanceId("a1b2", str)

    state = client.get_orchestration_state(instance_id)

    assert state is not None
    assert state.instance_id is instance_id
    assert state.get_output() == "7"


def test_state_without_payloads_does_not_ask_for_them(
    client: Client, hub: Any, state_message: StateMessage
) -> None:
    hub.answers("get_instance", found(state_message()))

    state = client.get_orchestration_state("a1b2", fetch_payloads=False)

    assert state is not None
    assert not hub.requests[0].getInputsAndOutputs
    assert not state.fetched_payloads


def test_waiting_for_an_unknown_instance_raises(client: Client, hub: Any) -> None:
    hub.answers("wait_for_instance_completion", NOBODY)
    hub.answers("wait_for_instance_start", Status.NOT_FOUND)

    with pytest.raises(InstanceNotFoundError, match="holds no instance 'a1'"):
        client.wait_for_orchestration_completion("a1")
    with pytest.raises(InstanceNotFoundError, match="holds no instance 'a1'"):
        client.wait_for_orchestration_start("a1")


def test_wait_that_times_out_says_why(
    client: Client, hub: Any, state_message: StateMessage
) -> None:
    hub.answers("wait_for_instance_completion", Status.DEADLINE_EXCEEDED)
    hub.answers("get_instance", found(state_message("PENDING")))

    with pytest.raises(WaitTimeoutError) as caught:
        client.wait_for_orchestration_completion("a1b2", timeout=0.01)

    words = "PENDING: no worker connected to sqlite:////srv/orders.db seems to run order."
    assert words in str(caught.value)


def test_wait_that_times_out_on_an_unknown_instance_says_that(client: Client, hub: Any) -> None:
    hub.answers("wait_for_instance_start", Status.DEADLINE_EXCEEDED)
    hub.answers("get_instance", NOBODY)

    with pytest.raises(InstanceNotFoundError):
        client.wait_for_orchestration_start("a1", timeout=0)


def test_wait_for_what_has_ended_and_cannot_be_read_does_not_say_that_it_goes_on(
    client: Client, hub: Any, state_message: StateMessage
) -> None:
    hub.answers("wait_for_instance_completion", Status.DEADLINE_EXCEEDED)
    hub.answers("get_instance", found(state_message("COMPLETED")), Status.UNAVAILABLE)

    with pytest.raises(WaitTimeoutError) as caught:
        client.wait_for_orchestration_completion("a1b2", timeout=0.01)

    words = str(caught.value)
    assert "instance 'a1b2' is COMPLETED." in words
    assert "orders.db does not say more: scripted UNAVAILABLE." in words


def test_wait_that_times_out_on_a_silent_hub_says_that(client: Client, hub: Any) -> None:
    hub.answers("wait_for_instance_start", Status.UNAVAILABLE)
    hub.answers("get_instance", Status.UNAVAILABLE)

    with pytest.raises(WaitTimeoutError, match=r"orders.db does not say why: scripted UNAVAILABLE"):
        client.wait_for_orchestration_start("a1", timeout=0)


def test_wait_without_any_time_returns_what_is_there_already(
    client: Client, hub: Any, state_message: StateMessage
) -> None:
    hub.answers("wait_for_instance_completion", Status.DEADLINE_EXCEEDED)
    hub.answers("wait_for_instance_start", Status.DEADLINE_EXCEEDED)
    hub.answers("get_instance", found(state_message("COMPLETED", output='"done"')))

    ended = client.wait_for_orchestration_completion("a1b2", timeout=0)
    begun = client.wait_for_orchestration_start("a1b2", timeout=0, fetch_payloads=False)

    assert ended.get_output() == "done"
    assert begun.runtime_status is OrchestrationStatus.COMPLETED
    assert hub.requests[-1].getInputsAndOutputs is False


def executions(state_message: StateMessage, *ids: str) -> list[pb.GetInstanceResponse]:
    replies = [found(state_message("RUNNING")) for _ in ids]
    for reply, execution_id in zip(replies, ids, strict=True):
        reply.orchestrationState.executionId.value = execution_id
    return replies


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (
            ["e1", "e2"],
            "RUNNING: it continues as new again and again.*wait for a timer or an event",
        ),
        (["e1", "e1"], "RUNNING: since .* its next turn has been due"),
    ],
)
def test_wait_that_times_out_between_two_executions_looks_twice(
    client: Client, hub: Any, state_message: StateMessage, seen: list[str], words: str
) -> None:
    async def no_events(request: Any, *, timeout: float | None) -> AsyncIterator[pb.HistoryChunk]:
        yield pb.HistoryChunk()

    hub.stream_instance_history = no_events
    hub.answers("wait_for_instance_completion", Status.DEADLINE_EXCEEDED)
    hub.answers("get_instance", *executions(state_message, *seen))

    with pytest.raises(WaitTimeoutError, match=words):
        client.wait_for_orchestration_completion("a1b2", timeout=0)


@pytest.mark.parametrize(
    "timeout", [None, 10**400, 1e300, float("inf"), timedelta.max], ids=lambda t: str(t)[:9]
)
def test_timeouts_of_a_century_and_more_are_none(
    client: Client, hub: Any, state_message: StateMessage, timeout: Any
) -> None:
    hub.answers("wait_for_instance_start", found(state_message("COMPLETED")))

    client.wait_for_orchestration_start("a1b2", timeout=timeout)

    assert hub.timeouts == [None]


@pytest.mark.parametrize("timeout", [-1, float("nan"), "5", True, timedelta(seconds=-1)])
def test_timeouts_that_make_no_sense_are_refused(client: Client, timeout: Any) -> None:
    with pytest.raises(UsageError, match="timeout="):
        client.wait_for_orchestration_start("a1", timeout=timeout)


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.get_orchestration_state("a1", fetch_payloads="no"),
        lambda client: client.wait_for_orchestration_start("a1", fetch_payloads=None),
        lambda client: client.wait_for_orchestration_completion("a1", fetch_payloads=1),
        lambda client: client.terminate_orchestration("a1", recursive="no"),
        lambda client: client.purge_orchestration("a1", recursive=5),
        lambda client: client.get_versions_in_use(include_ended="yes"),
    ],
    ids=["get", "wait for start", "wait for completion", "terminate", "purge", "versions"],
)
def test_what_is_neither_yes_nor_no_is_refused(client: Client, hub: Any, call: Any) -> None:
    with pytest.raises(UsageError, match=r"give True or False"):
        call(client)
    assert hub.requests == []


def test_an_option_that_there_is_not_is_named_beside_those_there_are(
    client: Client, hub: Any
) -> None:
    unknown: Any = {"retries": 1}

    for start in (client.schedule_new_orchestration, client.run_orchestration):
        with pytest.raises(UsageError, match=r"no option 'retries' .* instance_id, version"):
            start("orders", **unknown)
    assert hub.requests == []


@pytest.mark.parametrize("instance_id", ["", None, 7])
def test_ids_that_are_none_are_refused(client: Client, instance_id: Any) -> None:
    with pytest.raises(UsageError, match="is no instance id"):
        client.get_orchestration_state(instance_id)


def test_event_carries_its_data(client: Client, hub: Any) -> None:
    hub.answers("raise_event", pb.RaiseEventResponse())

    client.raise_orchestration_event("a1", "approved", data={"by": "me"})
    client.raise_orchestration_event("a1", "pinged")

    approved, pinged = hub.requests
    assert (approved.instanceId, approved.name) == ("a1", "approved")
    assert approved.input.value == '{"by":"me"}'
    assert not pinged.HasField("input")


@pytest.mark.parametrize("name", [5, "", None])
def test_event_name_that_is_no_text_is_refused(client: Client, hub: Any, name: Any) -> None:
    with pytest.raises(UsageError, match="is no event name"):
        client.raise_orchestration_event("a1", name)
    assert hub.requests == []


def test_event_without_an_answer_is_not_raised_again(client: Client, hub: Any) -> None:
    hub.answers("raise_event", Status.DEADLINE_EXCEEDED)

    with pytest.raises(OutcomeUnknownError):
        client.raise_orchestration_event("a1", "approved")
    assert len(hub.requests) == 1


def test_event_for_an_unknown_instance_raises(client: Client, hub: Any) -> None:
    hub.answers("raise_event", Status.NOT_FOUND)

    with pytest.raises(InstanceNotFoundError):
        client.raise_orchestration_event("a1", "approved")


def test_commands_say_what_they_were_told(client: Client, hub: Any) -> None:
    hub.answers("suspend_instance", pb.SuspendResponse())
    hub.answers("resume_instance", pb.ResumeResponse())
    hub.answers("terminate_instance", pb.TerminateResponse())

    client.suspend_orchestration("a1", reason="lunch")
    client.resume_orchestration("a1")
    client.terminate_orchestration("a1", output="enough")
    client.terminate_orchestration("a1", recursive=False)

    suspend, resume, terminate, alone = hub.requests
    assert (suspend.instanceId, suspend.reason.value) == ("a1", "lunch")
    assert (resume.instanceId, resume.HasField("reason")) == ("a1", False)
    assert (terminate.output.value, terminate.recursive) == ('"enough"', True)
    assert (alone.HasField("output"), alone.recursive) == (False, False)


def test_purge_tells_what_it_deleted(client: Client, hub: Any) -> None:
    hub.answers(
        "purge_instances",
        pb.PurgeInstancesResponse(deletedInstanceCount=1, isComplete={"value": True}),
        pb.PurgeInstancesResponse(),
    )

    first, second = client.purge_orchestration("a1"), client.purge_orchestration("a1")

    assert (first.deleted_instance_count, first.is_complete) == (1, True)
    assert (second.deleted_instance_count, second.is_complete) == (0, None)
    assert hub.requests[0].isOrchestration
    assert hub.requests[0].recursive


@pytest.mark.parametrize("last_token", [None, "", "0", "page 2"])
def test_query_reads_pages_until_the_engine_has_no_more(
    client: Client, hub: Any, state_message: StateMessage, last_token: str | None
) -> None:
    page = pb.QueryInstancesResponse(
        orchestrationState=[state_message()], continuationToken={"value": "page 2"}
    )
    last = pb.QueryInstancesResponse(orchestrationState=[state_message("RUNNING")])
    if last_token is not None:
        last.continuationToken.value = last_token
    hub.answers("query_instances", page, last)

    states = client.get_all_orchestration_states()

    assert [str(state.runtime_status) for state in states] == ["COMPLETED", "RUNNING"]
    first, second = (request.query for request in hub.requests)
    assert not first.HasField("continuationToken")
    assert second.continuationToken.value == "page 2"


def test_query_reads_no_page_that_nobody_wants(
    client: Client, hub: Any, state_message: StateMessage
) -> None:
    hub.answers(
        "query_instances",
        pb.QueryInstancesResponse(
            orchestrationState=[state_message()], continuationToken={"value": "more"}
        ),
    )

    first = next(iter(client.query_orchestrations()))

    assert first.instance_id == "a1b2"
    assert len(hub.requests) == 1


def test_query_sends_its_conditions(client: Client, hub: Any) -> None:
    hub.answers("query_instances", pb.QueryInstancesResponse())
    moment = datetime(2026, 1, 1, tzinfo=UTC)

    client.get_all_orchestration_states(
        OrchestrationQuery(
            created_time_from=moment,
            created_time_to=moment,
            runtime_status=[OrchestrationStatus.FAILED],
            instance_id_prefix="a",
            max_instance_count=7,
            fetch_inputs_and_outputs=True,
        )
    )

    query = hub.requests[0].query
    assert query.createdTimeFrom.ToDatetime(UTC) == moment
    assert query.createdTimeTo.ToDatetime(UTC) == moment
    assert list(query.runtimeStatus) == [OrchestrationStatus.FAILED.value]
    assert (query.instanceIdPrefix.value, query.maxInstanceCount) == ("a", 7)
    assert query.fetchInputsAndOutputs


def test_history_is_put_together_from_its_chunks(core: ClientCore, hub: Any) -> None:
    async def stream(
        request: pb.StreamInstanceHistoryRequest, *, timeout: float | None = None
    ) -> AsyncIterator[pb.HistoryChunk]:
        assert (request.instanceId, request.executionId.value) == ("a1", "e1")
        yield pb.HistoryChunk(events=[pb.HistoryEvent(orchestratorStarted={})])
        yield pb.HistoryChunk(events=[pb.HistoryEvent(eventRaised={"name": "approved"})])

    hub.stream_instance_history = stream

    history = Client(core).get_orchestration_history("a1", execution_id="e1")

    assert [event.kind for event in history] == ["orchestrator_started", "event_raised"]
