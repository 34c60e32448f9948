"""The example of a plugin in a package of its own, before it is built: payloads are encrypted."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet

from durableflow import (
    App,
    NonDeterminismError,
    Orchestration,
    OrchestrationContext,
    PayloadUnavailableError,
)
from durableflow.engine.__main__ import main as export
from durableflow.testing import read_history, replay

pytestmark = pytest.mark.e2e

MODULE = (
    Path(__file__).parents[2]
    / "examples"
    / "durableflow_fernet"
    / "durableflow_fernet"
    / "__init__.py"
)
SECRET = "nobody's business"


@pytest.fixture(scope="module")
def plugin() -> Any:
    specification = importlib.util.spec_from_file_location("durableflow_fernet", MODULE)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module.FernetPayloads


def new_key() -> str:
    return Fernet.generate_key().decode()


def app_with(plugin: object, folder: Path) -> App:
    app = App("secret", root=folder, plugins=[plugin])

    @app.activity
    def repeat(text: str) -> str:
        return f"{text} {text}"

    @app.orchestrator
    def keep(ctx: OrchestrationContext, text: str) -> Orchestration[str]:
        ctx.set_custom_status(text)
        return (yield ctx.call_activity(repeat, input=text))

    return app


def test_the_hub_keeps_nothing_that_can_be_read(plugin: Any, tmp_path: Path) -> None:
    app = app_with(plugin((new_key(),)), tmp_path)

    with app.running() as client:
        client.run_orchestration("keep", input=SECRET, instance_id="a")
        state = client.get_orchestration_state("a")

    assert state is not None
    assert state.get_output() == f"{SECRET} {SECRET}"
    assert (state.get_input(), state.get_custom_status()) == (SECRET, SECRET)
    files = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert SECRET.encode() not in files
    assert files.count(b"fernet:") >= 4


def test_keys_can_be_changed(plugin: Any, tmp_path: Path) -> None:
    old, new = new_key(), new_key()
    with app_with(plugin((old,)), tmp_path).running() as client:
        client.run_orchestration("keep", input=SECRET, instance_id="a")

    with app_with(plugin((new, old)), tmp_path).client() as client:
        state = client.get_orchestration_state("a")

    assert state is not None
    assert state.get_input() == SECRET


def test_what_the_engine_exports_stays_secret_and_is_replayed_with_the_key(
    plugin: Any, tmp_path: Path
) -> None:
    key, folder = new_key(), tmp_path / "histories"
    with app_with(plugin((key,)), tmp_path).running() as client:
        client.run_orchestration("keep", input=SECRET, instance_id="a")

    assert export(["export", "--db", str(tmp_path / "secret.db"), "--out", str(folder)]) == 0

    text = (folder / "a.json").read_text()
    assert SECRET not in text
    assert "fernet:" in text
    history = read_history(folder / "a.json")
    replay(app_with(plugin((key,)), tmp_path), [folder, history])
    replay(app_with(plugin((new_key(), key)), tmp_path), history)
    with pytest.raises(
        NonDeterminismError, match=r"input of an orchestration cannot be read: .* key"
    ):
        replay(app_with(plugin((new_key(),)), tmp_path), folder)


def test_without_the_key_the_error_says_so_and_tells_no_key(plugin: Any, tmp_path: Path) -> None:
    with app_with(plugin((new_key(),)), tmp_path).running() as client:
        client.run_orchestration("keep", input=SECRET, instance_id="a")
    another = plugin((new_key(),))

    with (
        app_with(another, tmp_path).client() as client,
        pytest.raises(PayloadUnavailableError, match="Add it to the keys") as caught,
    ):
        client.get_orchestration_state("a")

    assert another.keys[0] not in str(caught.value) + repr(another)
