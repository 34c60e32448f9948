from __future__ import annotations

import logging

import pytest

from durableflow.protocol.actions import schedule_task
from durableflow.worker.payload_log import LEVEL, LOGGER, log_payload, log_turn
from tests.unit.replay.histories import started


def test_debugging_alone_shows_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    log_payload("result of activity 'work'", "a1", '"secret"')
    log_turn("order", "a1", [started(input="secret")], [schedule_task(1, "work", input='"secret"')])

    assert not caplog.records


def test_who_asks_sees_what_a_turn_received_and_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(LEVEL, LOGGER)

    log_turn("order", "a1", [started(input=5)], [schedule_task(1, "work", input='"x"')])

    assert [record.getMessage() for record in caplog.records] == [
        "Instance 'a1', input of orchestrator 'order': 5",
        "Instance 'a1', input of activity 'work': \"x\"",
    ]


def test_a_long_payload_is_cut(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(LEVEL, LOGGER)

    log_payload("result of activity 'work'", "a1", "x" * 1_000_000)

    assert len(caplog.text) < 3000
