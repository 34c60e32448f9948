"""Failures: what orchestrators and callers learn about what went wrong elsewhere."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from durableflow import (
    App,
    Client,
    ConversionError,
    FailureDetails,
    FailureError,
    OrchestrationContext,
    OrchestrationFailedError,
    OrchestrationStatus,
    TaskFailedError,
    when_all,
)
from tests.e2e.watching import SECONDS, output

pytestmark = pytest.mark.e2e

THIS_FILE = Path(__file__).name
SECRET = "swordfish-1234"

app = App("authoring_failures")


class PaymentError(Exception):
    pass


class CardError(PaymentError):
    def __init__(self, code: int, reasons: list[str]) -> None:
        super().__init__(f"card refused with code {code}")
        self.failure_properties = {"code": code, "reasons": reasons, "retry": None, "fee": 0.5}


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("cannot be printed")

    def __reduce__(self) -> Any:
        raise RuntimeError("cannot be pickled")


@attrs.frozen
class Account:
    owner: str
    password: str


def card(code: int) -> None:
    raise CardError(code, ["expired", "stolen"])


@app.activity
def pay(code: int) -> None:
    try:
        card(code)
    except CardError as error:
        raise PaymentError("the payment failed") from error


@app.activity
async def pay_in_context() -> None:
    try:
        card(1)
    except CardError:
        raise PaymentError("while handling another")  # noqa: B904 -- that is the point


@app.activity
def pay_and_hide() -> None:
    try:
        card(1)
    except CardError:
        raise PaymentError("the rest is hidden") from None


@app.activity
def pay_in_a_group() -> None:
    raise ExceptionGroup("several", [CardError(1, []), ValueError("other")])


def of_a_class_that_nobody_else_knows() -> Exception:
    return type("LocalError", (Exception,), {"__module__": "elsewhere.deep"})("from far away")


RAISED: dict[str, BaseException] = {
    "unprintable": UnprintableError(),
    "silent": ValueError(),
    "unknown": of_a_class_that_nobody_else_knows(),
    "exit": SystemExit(3),
    "interrupt": KeyboardInterrupt(),
    "generator exit": GeneratorExit(),
    "stop": StopIteration(5),
    "not text": ValueError(object, 5),
    "surrogates": ValueError("half \ud800"),
    "long": ValueError("x" * 1_000_000),
    "deep": ValueError("top"),
}
_deepest = RAISED["deep"]
for _level in range(200):
    _deepest.__cause__ = ValueError(f"level {_level}")
    _deepest = _deepest.__cause__


@app.activity
def raise_what(which: str) -> None:
    raise RAISED[which]


@app.activity
async def raise_what_on_the_loop(which: str) -> None:
    raise RAISED[which]


@app.activity
def open_account(account: Account) -> Account:
    return account


@app.activity
def returns_another_type() -> Account:
    return ["Ann", SECRET]  # type: ignore[return-value] # the mistake


@app.activity
def untyped() -> Any:
    return {"owner": "Ann", "password": [SECRET]}


@app.orchestrator
async def uncaught(ctx: OrchestrationContext) -> None:
    await ctx.call_activity(pay, input=51)


@app.orchestrator
async def explained(ctx: OrchestrationContext) -> None:
    try:
        await ctx.call_activity(pay, input=51)
    except TaskFailedError as error:
        raise LookupError("no way to pay") from error


@app.orchestrator
async def learns(ctx: OrchestrationContext, activity: str) -> list[Any]:
    try:
        await ctx.call_activity(activity, input=51 if activity == "pay" else None)
    except TaskFailedError as error:
        chain = error.details.chain()
        return [[details.error_type.rpartition(".")[2], details.message] for details in chain]
    return []


@app.orchestrator
async def asks_for_causes(ctx: OrchestrationContext) -> list[Any]:
    try:
        await ctx.call_activity(pay, input=51)
    except TaskFailedError as error:
        details = error.details
        cause = details.inner
        assert cause is not None
        return [
            details.is_caused_by(PaymentError),
            details.is_caused_by(CardError),
            details.is_caused_by("CardError"),
            details.is_caused_by("builtins.ValueError"),
            details.is_caused_by(ValueError),
            details.is_caused_by(Exception),
            cause.properties,
        ]
    return []


@app.orchestrator
async def raises_by_activity(ctx: OrchestrationContext, which: str) -> list[str]:
    messages = []
    for name in ("raise_what", "raise_what_on_the_loop"):
        try:
            await ctx.call_activity(name, input=which)
        except TaskFailedError as error:
            messages.append(f"{error.details.error_type}: {error.details.message}")
    return messages


@app.orchestrator
def raises_itself(ctx: OrchestrationContext, which: str) -> None:
    raise RAISED[which]


@app.orchestrator
async def one_of_many_fails(ctx: OrchestrationContext) -> None:
    await when_all([ctx.call_activity(pay, input=code) for code in range(5)])


@app.orchestrator
async def needs_an_account(ctx: OrchestrationContext) -> Account:
    return await ctx.call_activity("untyped", return_type=Account)


@app.orchestrator
async def gets_another_type(ctx: OrchestrationContext) -> Account:
    return await ctx.call_activity(returns_another_type)


@app.orchestrator
async def sends_another_type(ctx: OrchestrationContext) -> Account:
    account: Any = {"owner": "Ann", "password": [SECRET]}
    return await ctx.call_activity(open_account, input=account)


@app.orchestrator
async def keeps_a_secret(ctx: OrchestrationContext, account: Account) -> str:
    ctx.set_custom_status(account)
    await ctx.call_activity(open_account, input=account)
    await ctx.call_activity(pay, input=5)
    return account.password


@pytest.fixture(scope="module")
def client(task_hub: str) -> Iterator[Client]:
    with app.running(task_hub=task_hub) as client:
        yield client


def failure_of(client: Client, orchestrator: Any, input: Any = None) -> OrchestrationFailedError:
    with pytest.raises(OrchestrationFailedError) as caught:
        client.run_orchestration(orchestrator, input=input, timeout=SECONDS)
    assert caught.value.details is not None
    return caught.value


def last_cause(error: OrchestrationFailedError) -> FailureDetails:
    assert error.details is not None
    *_, last = error.details.chain()
    return last


@pytest.mark.parametrize(
    ("activity", "chain"),
    [
        (
            "pay",
            [["PaymentError", "the payment failed"], ["CardError", "card refused with code 51"]],
        ),
        (
            "pay_in_context",
            [["PaymentError", "while handling another"], ["CardError", "card refused with code 1"]],
        ),
        ("pay_and_hide", [["PaymentError", "the rest is hidden"]]),
        (
            "pay_in_a_group",
            [
                ["ExceptionGroup", "several (2 sub-exceptions)"],
                ["CardError", "card refused with code 1"],
            ],
        ),
    ],
)
def test_an_orchestrator_sees_the_chain_that_python_would_show(
    client: Client, activity: str, chain: list[Any]
):
    assert client.run_orchestration(learns, input=activity, timeout=SECONDS) == chain


def test_causes_can_be_asked_for_by_class_and_by_name_and_bring_their_properties(client: Client):
    answers = client.run_orchestration(asks_for_causes, timeout=SECONDS)

    assert answers == [
        *[True, True, True, False, False, True],
        {"code": 51, "reasons": ["expired", "stolen"], "retry": None, "fee": 0.5},
    ]


def test_the_caller_gets_the_whole_chain_in_words_and_in_details(client: Client):
    error = failure_of(client, explained)

    for words in ["no way to pay", "the payment failed", "card refused with code 51"]:
        assert words in str(error)
    assert [details.error_type.rpartition(".")[2] for details in error.details.chain()] == [  # type: ignore[union-attr]
        *["LookupError", "TaskFailedError", "PaymentError", "CardError"]
    ]
    assert isinstance(error, FailureError)


def test_the_remote_traceback_shows_the_users_lines_causes_first_and_none_of_ours(client: Client):
    error = failure_of(client, explained)
    told = "\n".join(error.__notes__)

    lines = re.findall(rf'{re.escape(THIS_FILE)}", line \d+, in (\w+)\n +(.+)', told)
    assert [name for name, _ in lines] == ["pay", "card", "pay", "explained", "explained"]
    assert lines[1][1] == 'raise CardError(code, ["expired", "stolen"])'
    assert "/durableflow/" not in told
    assert told.index("CardError") < told.index("PaymentError") < told.index("LookupError")


def test_a_failed_instance_shows_its_failure_in_its_state(client: Client):
    instance = client.schedule_new_orchestration(uncaught)

    state = client.wait_for_orchestration_completion(instance, timeout=SECONDS)

    assert state.runtime_status is OrchestrationStatus.FAILED
    assert state.failure_details is not None
    assert state.failure_details.is_caused_by(CardError)
    assert state.serialized_output is None
    with pytest.raises(OrchestrationFailedError):
        state.raise_if_failed()


def test_the_first_failure_of_many_is_the_one(client: Client):
    assert last_cause(failure_of(client, one_of_many_fails)).error_type.endswith("CardError")


@pytest.mark.parametrize(
    ("which", "words"),
    [
        ("unprintable", "UnprintableError: <UnprintableError that cannot be shown as text>"),
        ("silent", "builtins.ValueError: "),
        ("unknown", "elsewhere.deep.LocalError: from far away"),
        ("exit", "builtins.SystemExit: 3"),
        ("interrupt", "builtins.KeyboardInterrupt: "),
        ("generator exit", "builtins.GeneratorExit: "),
        ("not text", "<class 'object'>, 5"),
        ("surrogates", r"half \ud800"),
        ("long", "characters left out"),
        ("deep", "builtins.ValueError: top"),
    ],
)
def test_whatever_an_activity_raises_is_a_failure_and_harms_nobody(
    client: Client, which: str, words: str
):
    messages = client.run_orchestration(raises_by_activity, input=which, timeout=SECONDS)

    assert len(messages) == 2
    assert all(words in message for message in messages)


@pytest.mark.parametrize("which", sorted(RAISED.keys() - {"interrupt"}))
def test_whatever_an_orchestrator_raises_fails_it_and_harms_nobody(client: Client, which: str):
    error = failure_of(client, raises_itself, which)

    assert error.details is not None
    assert error.details.error_type.endswith(type(RAISED[which]).__name__)
    assert client.run_orchestration(learns, input="pay_and_hide", timeout=SECONDS)


@pytest.mark.parametrize(
    ("orchestrator", "words"),
    [
        (needs_an_account, ["result of activity 'untyped'", "Account", "password", "str"]),
        (gets_another_type, ["result of activity 'returns_another_type'", "Account", "list"]),
        (sends_another_type, ["input of activity 'open_account'", "Account", "password", "str"]),
    ],
)
def test_what_does_not_convert_is_told_with_activity_class_and_field_but_without_values(
    client: Client, orchestrator: Any, words: list[str]
):
    error = failure_of(client, orchestrator)

    assert error.details is not None
    assert error.details.is_caused_by(ConversionError)
    assert last_cause(error).is_non_retriable
    assert all(word in str(error) for word in words)
    assert SECRET not in "\n".join([str(error), *error.__notes__])


def test_payloads_are_not_logged_and_not_in_texts_of_failures(
    client: Client, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)

    error = failure_of(client, keeps_a_secret, Account("Ann", SECRET))

    assert SECRET not in caplog.text
    assert SECRET not in "\n".join([str(error), *error.__notes__])


def test_an_output_that_does_not_fit_what_the_caller_asks_for_is_told(client: Client):
    instance = client.schedule_new_orchestration(learns, input="pay_and_hide")
    output(client, instance)

    state = client.wait_for_orchestration_completion(instance, timeout=SECONDS)

    with pytest.raises(ConversionError, match=r"output of .*learns.*expected int, got list"):
        state.get_output(int)
