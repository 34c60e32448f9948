from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from durableflow._proto import task_hub_pb2 as pb
from durableflow.client import (
    InstanceId,
    OrchestrationQuery,
    OrchestrationState,
    OrchestrationStatus,
)
from durableflow.client.replies import state_of
from durableflow.converter import Converter
from durableflow.errors import (
    ConversionError,
    OrchestrationFailedError,
    OrchestrationNotCompletedError,
    UsageError,
)
from durableflow.protocol.times import to_timestamp


@dataclass(frozen=True)
class Receipt:
    total: float


@pytest.fixture
def state(
    state_message: Callable[..., pb.OrchestrationState],
) -> Callable[..., OrchestrationState[Any]]:
    def build(
        status: str = "COMPLETED", *, asked: str = "a1b2", fetched: bool = True, **fields: Any
    ) -> OrchestrationState[Any]:
        return state_of(
            state_message(status, **fields), Converter(), asked=asked, fetched_payloads=fetched
        )

    return build


def test_instance_id_is_text_everywhere() -> None:
    instance_id: InstanceId[int] = InstanceId("a1b2", int)

    assert instance_id == "a1b2"
    assert {instance_id: 1}["a1b2"] == 1
    assert json.dumps([instance_id]) == '["a1b2"]'


@pytest.mark.parametrize(
    "clone", [copy.copy, copy.deepcopy, lambda i: pickle.loads(pickle.dumps(i))]
)
def test_instance_id_keeps_its_output_type_when_copied(clone: Callable[[Any], Any]) -> None:
    cloned = clone(InstanceId("a1b2", Receipt))

    assert cloned == "a1b2"
    assert cloned.output_type is Receipt


def test_output_has_the_type_that_the_instance_id_knows(state: Any) -> None:
    finished = state(output='{"total":12.5}', asked=InstanceId("a1b2", Receipt))

    assert finished.get_output() == Receipt(12.5)


def test_output_of_an_instance_named_by_text_is_plain_json(state: Any) -> None:
    output = state(output='{"total":12.5}').get_output()

    assert output == {"total": 12.5}
    assert output.total == 12.5


def test_output_can_be_converted_to_a_type_of_choice(state: Any) -> None:
    assert state(output='{"total":12.5}').get_output(Receipt) == Receipt(12.5)


def test_output_that_does_not_fit_names_the_path_and_the_instance(state: Any) -> None:
    with pytest.raises(ConversionError, match="a1b2") as caught:
        state(output='{"total":"much"}').get_output(Receipt)

    assert "total" in caught.value.path


def test_output_of_a_failed_instance_raises_the_whole_chain(state: Any) -> None:
    inner = pb.TaskFailureDetails(errorType="builtins.KeyError", errorMessage="'pen'")
    outer = pb.TaskFailureDetails(
        errorType="durableflow.TaskFailedError", errorMessage="activity 'pick'", innerFailure=inner
    )

    with pytest.raises(OrchestrationFailedError) as caught:
        state("FAILED", failureDetails=outer, version="2").get_output()

    assert str(caught.value) == (
        "Orchestrator 'order' version '2', instance 'a1b2', failed: durableflow.TaskFailedError: "
        "activity 'pick', caused by builtins.KeyError: 'pen'"
    )
    assert caught.value.instance_id == "a1b2"
    assert caught.value.details is not None
    assert caught.value.details.is_caused_by(KeyError)


def test_a_cause_that_the_failure_tells_already_is_not_told_twice(state: Any) -> None:
    root = pb.TaskFailureDetails(errorType="builtins.OSError", errorMessage="no disk")
    inner = pb.TaskFailureDetails(
        errorType="builtins.KeyError", errorMessage="'pen'", innerFailure=root
    )
    outer = pb.TaskFailureDetails(
        errorType="durableflow.errors.TaskFailedError",
        errorMessage="Activity 'pick' failed: builtins.KeyError: 'pen'",
        innerFailure=inner,
    )

    with pytest.raises(OrchestrationFailedError) as caught:
        state("FAILED", failureDetails=outer).get_output()

    assert str(caught.value).endswith(
        "failed: builtins.KeyError: 'pen', caused by builtins.OSError: no disk"
    )
    assert str(caught.value).count("KeyError") == 1


def test_output_of_a_terminated_instance_raises_and_shows_it(state: Any) -> None:
    with pytest.raises(OrchestrationFailedError, match='was terminated with the output "no stock"'):
        state("TERMINATED", output='"no stock"').get_output()


def test_output_of_an_unfinished_instance_raises(state: Any) -> None:
    with pytest.raises(OrchestrationNotCompletedError, match="is RUNNING and has no output yet"):
        state("RUNNING").get_output()


def test_payloads_that_were_not_fetched_are_not_taken_for_absent_ones(state: Any) -> None:
    finished = state(fetched=False)

    with pytest.raises(UsageError, match="fetch_payloads=True"):
        finished.get_output()
    with pytest.raises(UsageError, match="fetch_payloads=True"):
        finished.get_input()


def test_absent_payloads_are_none(state: Any) -> None:
    finished = state()

    assert finished.get_output() is None
    assert finished.get_input() is None
    assert finished.get_custom_status() is None


def test_input_and_custom_status_are_converted_on_demand(state: Any) -> None:
    running = state("RUNNING", input='{"total":1}', customStatus='{"total":2}')

    assert running.get_input(Receipt) == Receipt(1)
    assert running.get_custom_status(Receipt) == Receipt(2)
    assert running.get_custom_status() == {"total": 2}


@pytest.mark.parametrize("status", ["COMPLETED", "RUNNING", "PENDING", "SUSPENDED"])
def test_only_failed_states_raise(state: Any, status: str) -> None:
    state(status).raise_if_failed()


def test_failure_details_of_an_unfinished_instance_say_why_it_is_parked(state: Any) -> None:
    details = pb.TaskFailureDetails(errorType="nondeterminism", errorMessage="event 7 differs")

    parked = state("RUNNING", failureDetails=details)

    assert parked.parked.message == "event 7 differs"
    assert parked.failure_details is None
    parked.raise_if_failed()


def test_empty_failure_details_are_no_failure(state: Any) -> None:
    finished = state(failureDetails=pb.TaskFailureDetails())

    assert finished.failure_details is None
    assert finished.parked is None


def test_every_field_of_a_state_arrives(state: Any) -> None:
    finished = state(
        version="1.0.0",
        tags={"team": "blue"},
        executionId={"value": "e1"},
        parentInstanceId={"value": "p1"},
        completedTimestamp=to_timestamp(datetime(2026, 1, 2, 4, tzinfo=UTC)),
        scheduledStartTimestamp=to_timestamp(datetime(2026, 1, 2, 3, tzinfo=UTC)),
    )

    assert finished.runtime_status is OrchestrationStatus.COMPLETED
    assert finished.created_at == datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
    assert finished.last_updated_at == datetime(2026, 1, 2, 3, 5, tzinfo=UTC)
    assert finished.completed_at == datetime(2026, 1, 2, 4, tzinfo=UTC)
    assert finished.scheduled_start_at == datetime(2026, 1, 2, 3, tzinfo=UTC)
    assert (finished.name, finished.version) == ("order", "1.0.0")
    assert (finished.execution_id, finished.parent_instance_id) == ("e1", "p1")
    assert finished.tags == {"team": "blue"}


def test_statuses_have_the_numbers_of_the_protocol() -> None:
    wire = {
        name.removeprefix("ORCHESTRATION_STATUS_"): number
        for name, number in pb.OrchestrationStatus.items()
    }

    assert {status.name: status.value for status in OrchestrationStatus} == wire


def test_query_refuses_times_without_a_zone() -> None:
    with pytest.raises(UsageError, match="created_time_from"):
        OrchestrationQuery(created_time_from=datetime(2026, 1, 1))  # noqa: DTZ001


@pytest.mark.parametrize(
    ("condition", "value"),
    [
        ("created_time_from", "yesterday"),
        ("created_time_to", 0),
        ("runtime_status", "RUNNING"),
        ("runtime_status", ["RUNNING"]),
        ("instance_id_prefix", 5),
        ("max_instance_count", 0),
        ("max_instance_count", "all"),
    ],
)
def test_query_refuses_what_is_no_condition(condition: str, value: Any) -> None:
    with pytest.raises(UsageError, match=f"{condition}="):
        OrchestrationQuery(**{condition: value})


def test_query_takes_one_status_or_several() -> None:
    running, pending = OrchestrationStatus.RUNNING, OrchestrationStatus.PENDING

    assert OrchestrationQuery(runtime_status=running).runtime_status == (running,)
    assert OrchestrationQuery(runtime_status=[running, pending]).runtime_status == (
        running,
        pending,
    )
