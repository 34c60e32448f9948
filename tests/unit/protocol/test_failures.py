"""Failures as they travel."""

from __future__ import annotations

import re
import subprocess
import sys
import traceback
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from durableflow import FailureDetails, OrchestrationFailedError, TaskFailedError
from durableflow._proto import task_hub_pb2 as pb
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


def test_a_class_finds_the_subclasses_that_are_loaded():
    class FineError(ShopError):
        pass

    details = from_exception(FineError())
    refused = FailureDetails("builtins.ConnectionRefusedError", "")

    assert details.is_a(ShopError)
    assert not details.is_a(f"{__name__}.ShopError")
    assert refused.is_a(OSError)
    assert not refused.is_a(TimeoutError)


def test_what_nobody_knows_is_an_exception_and_what_ends_programs_is_not():
    foreign, exits = FailureDetails("java.io.IOException", ""), from_exception(SystemExit(1))

    assert foreign.is_a(Exception)
    assert not foreign.is_a(OSError)
    assert not exits.is_a(Exception)
    assert exits.is_a(BaseException)


def test_only_the_failure_itself_decides_what_it_is():
    details = FailureDetails("shop.ShopError", "", inner=FailureDetails("builtins.ValueError", ""))

    assert details.is_caused_by(ValueError)
    assert not details.is_a(ValueError)


# What exceptions say about themselves


class CardError(Exception):
    is_non_retriable = True

    def __init__(self, **properties: Any) -> None:
        super().__init__("declined")
        self.failure_properties = properties


def test_an_exception_tells_its_properties_and_that_it_is_not_retriable():
    said = {"code": 51, "limit": 0.5, "card": {"brand": ["a", None, True]}, "ünï": "ü"}

    details = from_message(to_message(from_exception(CardError(**said))))

    assert details.properties == said
    assert details.is_non_retriable


def test_properties_that_json_cannot_carry_become_text():
    nested: dict[str, Any] = {}
    nested["self"] = nested
    odd = {"nan": float("nan"), "big": 2**70, "when": date(2030, 1, 1), "half": "\udce9"}

    details = from_message(to_message(from_exception(CardError(**odd, nested=nested))))

    assert {name: details.properties[name] for name in odd} == {
        "nan": "nan",
        "big": str(2**70),
        "when": "2030-01-01",
        "half": "\\udce9",
    }


class Unreadable:
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    "said",
    [5, "text", {"x": Unreadable()}, Unreadable()],
    ids=["number", "text", "inside", "whole"],
)
def test_properties_that_cannot_be_read_are_left_out(said: Any):
    error = CardError()
    error.failure_properties = said

    assert from_exception(error).properties == {}


def test_an_exception_that_computes_what_it_says_and_breaks_still_travels():
    class BrokenError(Exception):
        @property
        def failure_properties(self) -> Any:
            raise RuntimeError

        is_non_retriable = failure_properties

    assert from_exception(BrokenError("x")).message == "x"


def test_numbers_and_values_of_other_writers_are_read():
    message = pb.TaskFailureDetails()
    message.properties["infinite"].number_value = float("inf")
    message.properties["unset"].SetInParent()

    assert from_message(message).properties == {"infinite": float("inf"), "unset": None}


# Texts


def test_text_that_utf_8_cannot_carry_is_escaped():
    details = from_exception(FileNotFoundError(2, "No such file", "caf\udce9"))

    assert r"'caf\udce9'" in from_message(to_message(details)).message


def test_a_message_that_is_too_long_is_cut_in_the_middle():
    message = from_exception(ValueError("a" * 10**6 + "the end")).message

    assert len(message) < 40_000
    assert "characters left out" in message
    assert message.endswith("the end")


def test_a_group_is_caused_by_its_first_exception():
    group = ExceptionGroup("two", [ValueError("1"), KeyError("2")])

    assert types_in(from_exception(group)) == ["ExceptionGroup", "ValueError"]


def test_the_traceback_tells_the_causes_first():
    details = caught("try: 1/0\nexcept Exception: raise ShopError('no sale')")

    assert re.fullmatch(
        r"""Traceback \(most recent call last\):
  File "<string>", line 1, in <module>
builtins\.ZeroDivisionError: division by zero

The above exception was the direct cause of the following exception:

Traceback \(most recent call last\):
  File ".*test_failures\.py", line \d+, in caught
    exec\(.*\)
(?: +[~^]+
)?  File "<string>", line 2, in <module>
.*\.ShopError: no sale
""",
        details.format_traceback(),
    )


def test_a_trace_of_another_language_is_shown_as_it_is():
    details = FailureDetails("Shop.CardException", "", stack_trace="   at Shop.Charge()")

    assert details.format_traceback() == "   at Shop.Charge()\nShop.CardException\n"


@pytest.mark.parametrize(
    "reporting",
    [
        lambda details: TaskFailedError("it failed", details),
        lambda details: OrchestrationFailedError("it failed", instance_id="a", details=details),
    ],
    ids=["task", "orchestration"],
)
def test_errors_show_where_what_they_report_failed(reporting: Callable[..., Exception]):
    error = reporting(caught("1/0"))

    shown = "".join(traceback.format_exception(error))

    assert shown.index("it failed") < shown.index('File "<string>", line 1')
    assert shown.endswith("builtins.ZeroDivisionError: division by zero\n")
    assert str(error) == "it failed"


def test_what_an_error_shows_is_no_part_of_its_message_when_it_travels():
    error = TaskFailedError("it failed", caught("1/0"))
    error.add_note("Ask the bank.")

    assert from_exception(error).message == "it failed\nAsk the bank."


def test_an_error_without_a_trace_shows_nothing_more():
    assert not hasattr(TaskFailedError("it failed", FailureDetails("a.B", "c")), "__notes__")


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
