"""Activities with ``executor="process"``: in real processes, which end in all sorts of ways."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import cattrs
import pytest

from durableflow import (
    ActivityContext,
    App,
    Client,
    Orchestration,
    OrchestrationContext,
    OrchestrationFailedError,
    RegistrationError,
    hookimpl,
)
from tests.e2e.conftest import Workshop

pytestmark = pytest.mark.e2e

SECONDS = 30


class Celsius:
    """A type that only a plugin can convert."""

    def __init__(self, degrees: float) -> None:
        self.degrees = degrees


class Thermometer:
    @hookimpl
    def configure_converter(self, converter: cattrs.Converter) -> None:
        converter.register_unstructure_hook(Celsius, lambda value: f"{value.degrees} °C")
        converter.register_structure_hook(
            Celsius, lambda text, _: Celsius(float(text.removesuffix(" °C")))
        )


app = App("processes", task_hub="sqlite://", plugins=[Thermometer()], drain_timeout_seconds=0)


@attrs.frozen
class Order:
    product: str
    quantity: int


class StubbornError(Exception):
    def __str__(self) -> str:
        raise ValueError("cannot be printed")

    def __reduce__(self) -> Any:
        raise ValueError("cannot be pickled")


@app.activity(executor="process")
def double(ctx: ActivityContext, order: Order) -> Order:
    return Order(order.product, order.quantity * 2)


@app.activity(executor="process")
def warm(celsius: Celsius) -> Celsius:
    return Celsius(celsius.degrees + 1)


@app.activity(executor="process")
def which(ctx: ActivityContext) -> list[Any]:
    return [os.getpid(), type(ctx.app).__name__, ctx.orchestration_id]


@app.activity(executor="process")
def fail(how: str) -> None:
    if how == "cause":
        try:
            {}["inner"]
        except KeyError as error:
            raise ValueError("outer") from error
    if how == "stubborn":
        raise StubbornError
    if how == "exit":
        sys.exit("enough")
    if how == "vanish":
        os._exit(7)
    os.kill(os.getpid(), signal.SIGKILL)


@app.activity(executor="process", timeout=0.3)
def hang(pid_file: str) -> None:
    Path(pid_file).write_text(str(os.getpid()))
    signal.pause()


@app.orchestrator
def call(ctx: OrchestrationContext, step: tuple[str, Any]) -> Orchestration[Any]:
    name, value = step
    return (yield ctx.call_activity(name, input=value))


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with app.running() as client:
        yield client


def output(client: Client, name: str, input: Any = None) -> Any:
    return client.run_orchestration(call, input=(name, input), timeout=SECONDS)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline


def test_it_runs_in_another_process_which_is_used_again(client: Client):
    first, second = output(client, "which"), output(client, "which")

    assert first[0] == second[0] != os.getpid()
    assert first[1] == "App"
    assert first[2] != second[2]


def test_inputs_and_results_keep_their_types(client: Client):
    assert output(client, "double", Order("pen", 2)) == {"product": "pen", "quantity": 4}


def test_what_plugins_taught_the_converter_is_known_there(client: Client):
    assert output(client, "warm", Celsius(20.5)) == "21.5 °C"


def failure_of(client: Client, how: str) -> Any:
    with pytest.raises(OrchestrationFailedError) as caught:
        output(client, "fail", how)
    assert caught.value.details is not None
    return caught.value.details.inner


def test_exceptions_come_back_with_their_causes_and_places(client: Client):
    failure = failure_of(client, "cause")

    assert (failure.error_type, failure.message) == ("builtins.ValueError", "outer")
    assert failure.inner.error_type == "builtins.KeyError"
    assert 'raise ValueError("outer")' in failure.stack_trace


@pytest.mark.parametrize(
    ("how", "error_type", "message"),
    [
        ("stubborn", f"{__name__}.StubbornError", "cannot be shown as text"),
        ("exit", "builtins.SystemExit", "enough"),
        ("vanish", "durableflow.errors.ActivityCrashedError", "ended itself with status 7"),
        ("kill", "durableflow.errors.ActivityCrashedError", "ended by SIGKILL .*out of memory"),
    ],
)
def test_however_it_ends_only_that_activity_fails(
    client: Client, how: str, error_type: str, message: str
):
    failure = failure_of(client, how)

    assert failure.error_type == error_type
    assert re.search(message, failure.message)
    assert output(client, "double", Order("pen", 2)) == {"product": "pen", "quantity": 4}


def test_a_process_whose_activity_takes_too_long_is_ended(client: Client, tmp_path: Path):
    pid_file = tmp_path / "pid"

    with pytest.raises(OrchestrationFailedError, match=r"its timeout of 0\.3 s"):
        output(client, "hang", str(pid_file))

    until(lambda: not is_alive(int(pid_file.read_text())))


def test_an_app_that_no_module_holds_is_refused_if_plugins_teach_its_converter():
    hidden = App("hidden", task_hub="sqlite://", plugins=[Thermometer()])
    hidden.add_activity(double, executor="process")

    with pytest.raises(RegistrationError, match="at the top of a module"), hidden.running():
        pass


def test_an_app_that_no_module_holds_does_without_and_stopping_ends_its_processes():
    hidden = App("hidden", task_hub="sqlite://")
    hidden.add_activity(which, executor="process")
    hidden.add_orchestrator(call)

    with hidden.running() as client:
        pid, type_of_app, _ = output(client, "which")

    assert type_of_app == "NoneType"
    until(lambda: not is_alive(pid))


CRUNCH = """
    # crunch.py
    import os, pathlib, signal, sys

    from durableflow import App, Orchestration, OrchestrationContext

    app = App("crunch")

    class CrunchError(Exception):
        pass

    @app.activity(executor="process")
    def crunch(number: int) -> int:
        if number == 0:
            raise CrunchError("nothing to do")
        if number < 0:
            print("pid", os.getpid(), flush=True)
            signal.pause()
        return number * number

    @app.orchestrator
    def order(ctx: OrchestrationContext, number: int) -> Orchestration[int]:
        return (yield ctx.call_activity(crunch, input=number))

    {start}
"""
GUARDED = """if __name__ == "__main__":
        app.run()
"""
CLIENT = """
    # client.py
    import sys

    from crunch import app, order
    from durableflow import OrchestrationFailedError

    with app.client() as client:
        try:
            print("result", client.run_orchestration(order, input=int(sys.argv[1]), timeout=30))
        except OrchestrationFailedError as error:
            print("failed", error.details.inner.error_type, error.details.inner.message)
"""
READY = "drain_timeout_seconds"


@pytest.fixture
def crunch(workshop: Workshop) -> Workshop:
    workshop.write("crunch.py", CRUNCH.format(start=GUARDED))
    workshop.write("client.py", CLIENT)
    return workshop


@pytest.mark.parametrize("words", [["crunch.py"], ["-m", "durableflow", "run", "crunch:app"]])
def test_programs_are_imported_however_they_were_started(crunch: Workshop, words: list[str]):
    worker = crunch.start(*words)
    worker.wait_for(READY)

    assert crunch.run("client.py", "7") == (0, "result 49\n")
    assert crunch.run("client.py", "0") == (0, "failed crunch.CrunchError nothing to do\n")
    worker.send(signal.SIGINT)
    assert worker.end() == 0, worker.output
    assert "Traceback" not in worker.output


def test_a_program_that_would_start_itself_again_is_told_so(crunch: Workshop):
    crunch.write("crunch.py", CRUNCH.format(start="app.run()"))
    crunch.write("client.py", CLIENT.replace("from crunch import", "from other import"))
    crunch.write("other.py", CRUNCH.format(start=GUARDED))
    worker = crunch.start("crunch.py")
    worker.wait_for(READY)

    status, text = crunch.run("client.py", "7")

    assert (status, text.split()[:2]) == (0, ["failed", "durableflow.errors.ActivityCrashedError"])
    worker.wait_for('put app.run() under `if __name__ == "__main__":`')


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_process_outlives_the_worker(crunch: Workshop, number: signal.Signals):
    worker = crunch.start("crunch.py", DURABLEFLOW_DRAIN_TIMEOUT_SECONDS="0.1")
    worker.wait_for(READY)
    crunch.start("client.py", "-1")
    worker.wait_for("pid ")
    pid = int(re.search(r"pid (\d+)", worker.output)[1])

    worker.send(number)

    until(lambda: not is_alive(pid))
    worker.process.wait(SECONDS)
