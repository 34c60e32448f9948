"""Failures as they travel."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from durableflow import FailureDetails, TaskFailedError
from durableflow.protocol.failures import from_exception, from_message, to_message


class ShopError(Exception):
    pass


class UnspeakableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError


def caught(code: str) -> FailureDetails:
    with pytest.raises(Exception) as info:  # noqa: PT011 -- which one is what the test is about
        exec(code, {"ShopError": ShopError})
    return from_exception(info.value)


def types_in(details: FailureDetails) -> list[str]:
    return [link.error_type.rpartition(".")[2] for link in details.chain()]


def test_types_have_their_qualified_names():
    assert from_exception(ValueError("x")).error_type == "builtins.ValueError"
    assert from_exception(ShopError()).error_type == f"{__name__}.ShopError"


def test_an_empty_message_stays_empty():
    assert from_exception(ValueError()).message == ""


def test_causes_and_contexts_become_inner_failures():
    explicit = caught("try: 1/0\nexcept Exception as e: raise ShopError('x') from e")
    implicit = caught("try: 1/0\nexcept Exception: raise ShopError('x')")

    assert types_in(explicit) == ["ShopError", "ZeroDivisionError"]
    assert types_in(implicit) == ["ShopError", "ZeroDivisionError"]


def test_what_from_none_hides_stays_hidden():
    hidden = caught("try: 1/0\nexcept Exception: raise ShopError('x') from None")

    assert types_in(hidden) == ["ShopError"]


def test_a_circle_of_causes_ends():
    one, two = ValueError("1"), KeyError("2")
    one.__cause__, two.__cause__ = two, one

    assert types_in(from_exception(one)) == ["ValueError", "KeyError"]


def test_an_endless_chain_of_causes_is_cut():
    first = latest = ValueError()
    for _ in range(1000):
        latest.__cause__ = latest = ValueError()

    assert 5 < len(types_in(from_exception(first))) < 100


def test_the_failure_of_another_function_is_the_inner_one():
    details = FailureDetails("java.lang.Error", "no money")
    error = TaskFailedError("activity 'charge' failed", details)

    assert from_exception(error).inner == details


def test_an_exception_that_cannot_be_shown_still_travels():
    assert from_exception(UnspeakableError()).message == (
        "<UnspeakableError that cannot be shown as text>"
    )


def test_notes_are_part_of_the_message():
    error = ValueError("no money")
    error.add_note("Ask the bank.")

    assert from_exception(error).message == "no money\nAsk the bank."


def test_the_stack_trace_shows_where_it_was_raised():
    def sell() -> None:
        raise ShopError

    with pytest.raises(ShopError) as info:
        sell()

    trace = from_exception(info.value).stack_trace
    assert trace is not None
    assert "in sell\n    raise ShopError" in trace
    assert from_exception(ShopError()).stack_trace is None


def test_only_the_failure_itself_is_marked_as_non_retriable():
    error = ShopError()
    error.__cause__ = ValueError()

    details = from_exception(error, non_retriable=True)

    assert details.inner is not None
    assert (details.is_non_retriable, details.inner.is_non_retriable) == (True, False)


def test_a_failure_comes_back_from_the_wire_as_it_was():
    details = FailureDetails(
        "a.B",
        "",
        stack_trace="",
        inner=FailureDetails("c.D", "d"),
        is_non_retriable=True,
        properties={"code": 7, "where": {"shop": ["a", None, True]}},
    )

    assert from_message(to_message(details)) == details


@pytest.mark.parametrize("sought", [ValueError, "ValueError", "builtins.ValueError"], ids=repr)
def test_the_cause_is_found_by_class_or_name(sought: type[BaseException] | str):
    details = FailureDetails("shop.ShopError", "", inner=FailureDetails("builtins.ValueError", ""))

    assert details.is_caused_by(sought)
    assert not details.inner.is_caused_by("shop.ShopError")
    assert not details.is_caused_by(KeyError)


def test_types_of_the_program_travel_under_the_name_that_others_import(tmp_path: Path):
    program = tmp_path / "orders.py"
    program.write_text(
        "from durableflow.protocol.failures import from_exception\n"
        "class ShopError(Exception): pass\n"
        "print(from_exception(ShopError()).error_type)\n"
    )

    def run(*command: str) -> str:
        root = str(Path(__file__).parents[3])
        done = subprocess.run(
            [sys.executable, *command],
            cwd=tmp_path,
            env={"PYTHONPATH": root},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    assert run("orders.py") == "orders.ShopError"
    assert run("-m", "orders") == "orders.ShopError"
    assert run("-c", program.read_text()) == "__main__.ShopError"
