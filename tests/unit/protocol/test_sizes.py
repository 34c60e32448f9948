from __future__ import annotations

import pytest

from durableflow._proto import task_hub_pb2 as pb
from durableflow.errors import CallError, PayloadTooLargeError
from durableflow.protocol import actions
from durableflow.protocol.sizes import (
    check_payload,
    check_turn,
    is_refused_for_size,
    largest_payload,
)
from durableflow.protocol.status import Status

COMPLETED = pb.ORCHESTRATION_STATUS_COMPLETED


@pytest.mark.parametrize("text", [None, "", "a" * 100, "é" * 50, "𝄞" * 25])
def test_what_fits_passes(text: str | None):
    check_payload(text, 100, place="result of activity 'work'")


@pytest.mark.parametrize("text", ["a" * 101, "é" * 51, "𝄞" * 26])
def test_what_does_not_fit_is_named_with_its_size_in_bytes(text: str):
    with pytest.raises(
        PayloadTooLargeError, match=r"The result of activity 'work' is too large: 10\d bytes"
    ) as caught:
        check_payload(text, 100, place="result of activity 'work'")

    assert caught.value.place == "result of activity 'work'"
    assert caught.value.size_bytes == len(text.encode())
    assert caught.value.limit_bytes == 100


@pytest.mark.parametrize(
    ("action", "place"),
    [
        (actions.schedule_task(1, "charge", input="x" * 200), "input of activity 'charge'"),
        (
            actions.create_sub_orchestration(1, "child", "a1:1", input="x" * 200),
            "input of sub-orchestration 'child'",
        ),
        (actions.send_event(1, "a2", "go", data="x" * 200), "data of event 'go'"),
        (
            actions.complete_orchestration(1, COMPLETED, result="x" * 200),
            "result of orchestrator 'order'",
        ),
        (actions.continue_as_new(1, "x" * 200), "new input of orchestrator 'order'"),
    ],
)
def test_each_payload_of_a_turn_is_measured(action: pb.OrchestratorAction, place: str):
    with pytest.raises(PayloadTooLargeError, match=f"The {place} is too large: 200 bytes"):
        check_turn("order", [action], payload_bytes=100, message_bytes=10_000)

    check_turn("order", [action], payload_bytes=200, message_bytes=10_000)


def test_names_do_not_count_as_payloads():
    action = actions.schedule_task(1, "n" * 200, input="x")

    check_turn("order", [action], payload_bytes=100, message_bytes=10_000)


def test_a_turn_is_measured_as_a_whole():
    many = [actions.schedule_task(n, "charge", input="x" * 90) for n in range(20)]

    with pytest.raises(PayloadTooLargeError, match="One turn asks for 20 actions of 2,") as caught:
        check_turn("order", many, payload_bytes=100, message_bytes=1000)

    assert caught.value.place == "turn of orchestrator 'order'"
    assert caught.value.limit_bytes == 1000


def test_the_largest_payload_of_a_turn_is_found():
    found = largest_payload(
        "order",
        [
            actions.schedule_task(1, "small", input="x"),
            actions.schedule_task(2, "large", input="é" * 10),
            actions.create_timer(3, 0),
        ],
    )

    assert found == ("input of activity 'large'", 20)


def test_a_turn_without_payloads_stands_for_itself():
    assert largest_payload("order", []) == ("turn of orchestrator 'order'", 0)


def test_only_what_grpc_says_of_sizes_is_taken_for_that():
    size = CallError(Status.RESOURCE_EXHAUSTED, "grpc: received message larger than max (5 vs. 4)")
    disk = CallError(Status.RESOURCE_EXHAUSTED, "no space left")

    assert is_refused_for_size(size)
    assert not is_refused_for_size(disk)
