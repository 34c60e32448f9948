from __future__ import annotations

import threading

import pytest

from durableflow.hub.running_turn import in_turn, running_turns


def test_a_thread_is_in_a_turn_only_inside_the_block():
    assert not in_turn()

    with running_turns():
        assert in_turn()
        with running_turns():
            assert in_turn()
        assert in_turn()

    assert not in_turn()


def test_leaving_by_an_exception_ends_the_turn():
    with pytest.raises(KeyError), running_turns():
        raise KeyError

    assert not in_turn()


def test_other_threads_are_not_in_the_turn():
    seen = []

    with running_turns():
        thread = threading.Thread(target=lambda: seen.append(in_turn()))
        thread.start()
        thread.join()

    assert seen == [False]
