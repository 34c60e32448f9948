"""The emulator goes when it is told to."""

from __future__ import annotations

import socket

import pytest

from tests.azurite import emulator

pytestmark = pytest.mark.e2e


def test_nothing_goes_on_when_the_emulator_is_ended() -> None:
    with emulator.running() as port, socket.create_connection(("127.0.0.1", port)):
        pass

    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
