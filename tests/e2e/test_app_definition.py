"""What an App is before it runs: a definition, without effects."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from durableflow import (
    ActivityContext,
    App,
    Blueprint,
    NotRegisteredError,
    Orchestration,
    OrchestrationContext,
    PluginError,
    RegistrationError,
    SettingsError,
    SetupError,
    TaskHubAddressError,
    hookimpl,
)


def hello(ctx: ActivityContext, name: str) -> str:
    return f"Hello {name}!"


def greet(ctx: OrchestrationContext, name: str) -> Orchestration[str]:
    return (yield ctx.call_activity(hello, input=name))


def test_constructing_an_app_has_no_effects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DURABLEFLOW_TASK_HUB", "nonsense")
    (tmp_path / "durableflow.toml").write_text("nonsense")
    threads = set(threading.enumerate())

    App("orders", root=tmp_path)

    assert set(threading.enumerate()) == threads
    assert [path.name for path in tmp_path.iterdir()] == ["durableflow.toml"]


@pytest.mark.parametrize("name", ["", "a/b", None])
def test_a_name_that_cannot_name_a_file_is_refused(name: str):
    with pytest.raises(SetupError, match="short name"):
        App(name)


def test_a_decorated_function_stays_a_plain_callable():
    app = App("orders")

    @app.activity
    def bare(name: str) -> str:
        return name

    @app.activity(name="other")
    def called(name: str) -> str:
        return name

    assert (bare("x"), called("y")) == ("x", "y")


def test_the_root_is_the_folder_of_the_module_that_makes_the_app():
    assert App("orders").root == Path(__file__).parent


def test_an_explicit_root_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)

    assert App("orders", root="data").root == tmp_path / "data"


def test_the_imperative_style_returns_the_name():
    app = App("orders")

    assert app.add_activity(hello) == "hello"
    assert app.add_orchestrator(greet, name="welcome", version="2.0") == "welcome"


def test_bound_methods_can_be_registered():
    class Greeter:
        def __init__(self, word: str) -> None:
            self.word = word

        def greet(self, name: str) -> str:
            return f"{self.word} {name}"

    app = App("orders")
    greeter = Greeter("Good morning")
    app.add_activity(greeter.greet)

    @app.orchestrator
    def welcome(ctx: OrchestrationContext) -> Orchestration[str]:
        return (yield ctx.call_activity(greeter.greet, input="Ann"))

    with app.running(task_hub="sqlite://") as client:
        assert client.run_orchestration(welcome, timeout=20) == "Good morning Ann"


def test_a_blueprint_reaches_its_apps_before_and_after_it_is_registered():
    blueprint = Blueprint("greetings")
    first, second = App("first"), App("second")
    blueprint.activity(hello)
    first.register_blueprint(blueprint)
    second.register_blueprint(blueprint)
    blueprint.orchestrator(greet)

    for app in (first, second):
        with app.running(task_hub="sqlite://") as client:
            assert client.run_orchestration(greet, input="Ann", timeout=20) == "Hello Ann!"


def test_a_blueprint_that_clashes_is_refused():
    app, blueprint = App("orders"), Blueprint("more")
    app.add_activity(hello)
    blueprint.add_activity(lambda name: name, name="hello")

    with pytest.raises(RegistrationError, match=r"test_app_definition\.py"):
        app.register_blueprint(blueprint)


def test_registering_while_the_app_runs_is_refused_and_possible_afterwards():
    app = App("orders")

    with (
        app.running(task_hub="sqlite://"),
        pytest.raises(RegistrationError, match="while the app runs"),
    ):
        app.add_activity(hello)
    app.add_activity(hello)


def test_a_function_of_another_app_is_refused_with_the_decorator_to_add():
    app = App("orders")

    with (
        app.running(task_hub="sqlite://") as client,
        pytest.raises(NotRegisteredError, match=r"@app\.orchestrator"),
    ):
        client.schedule_new_orchestration(greet, input="Ann")


def test_an_address_of_an_unknown_scheme_names_those_that_are_known():
    with pytest.raises(TaskHubAddressError, match="sqlite://"):
        App("orders", task_hub="redis://localhost").client()


def test_an_unknown_setting_names_those_that_exist(tmp_path: Path):
    (tmp_path / "durableflow.toml").write_text("max_concurent_activities = 3\n")

    with pytest.raises(SettingsError, match="max_concurrent_activities"):
        App("orders", root=tmp_path).client()


def test_a_plugin_that_comes_later_meets_the_app_too():
    class Greeting:
        @hookimpl
        def init_app(self, app: App) -> None:
            app.add_activity(hello)

    app = App("orders")
    app.register_plugin(Greeting())

    with pytest.raises(RegistrationError):
        app.add_activity(lambda name: name, name="hello")


@pytest.mark.parametrize("wrong", [5, "shop", App("another")])
def test_what_is_no_blueprint_is_refused(wrong: Any):
    with pytest.raises(RegistrationError, match=r"register_blueprint takes a Blueprint, not"):
        App("orders").register_blueprint(wrong)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"root": 5}, "root=5: give a folder"),
        ({"lifespan": 5}, "lifespan=5: give a function"),
        ({"plugins": 5}, "plugins=5: give a list"),
    ],
)
def test_what_is_of_the_wrong_kind_is_refused_when_the_app_is_made(wrong: Any, words: str):
    with pytest.raises(SetupError, match=words):
        App("orders", **wrong)


def test_a_plugin_without_hooks_is_refused():
    with pytest.raises(PluginError, match="hookimpl"):
        App("orders", plugins=[object()])
