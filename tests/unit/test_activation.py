"""Plugins that settings name: found among what is installed, made with their settings, or refused."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from datetime import timedelta
from importlib import invalidate_caches
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from durableflow import App
from durableflow.activation import installed_plugins
from durableflow.errors import PluginError
from durableflow.routing import NewestVersionRouting

MODULE = """
from datetime import timedelta
from pathlib import Path
from typing import Literal

import attrs
from durableflow import hookimpl

@attrs.frozen
class Audit:
    target: str
    most: int = attrs.field(default=5)
    ratio: float = 0.5
    strict: bool = False
    folder: Path | None = None
    wait: timedelta = timedelta(0)
    names: tuple[str, ...] = attrs.field(default=())
    level: Literal["low", "high"] = "low"

    @most.validator
    def check(self, attribute, value):
        if value < 1:
            raise ValueError("at least one is needed")

    @names.validator
    def check_names(self, attribute, value):
        if self.target == "x":
            raise ValueError(f"{value[0]!r} is no name")

    @hookimpl
    def worker_stopping(self):
        pass

class Plain:
    @hookimpl
    def worker_stopping(self):
        pass
"""
POINTS = """
[durableflow]
audit = ledger_plugin:Audit
audit-log = ledger_plugin:Plain
broken = ledger_plugin_that_is_missing:Plugin
"""


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a distribution with plugins, as pip would."""
    site = tmp_path / "site"
    information = site / "ledger_plugin-1.4.dist-info"
    information.mkdir(parents=True)
    (site / "ledger_plugin.py").write_text(MODULE)
    (information / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: ledger-plugin\nVersion: 1.4\n"
    )
    (information / "entry_points.txt").write_text(POINTS)
    monkeypatch.syspath_prepend(site)
    invalidate_caches()


@pytest.fixture
def active(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    def active(toml: str = "", app: App | None = None, **variables: str) -> dict[str, Any]:
        """Return the active plugins of an app with some settings, by name."""
        (tmp_path / "durableflow.toml").write_text(toml)
        for name, text in variables.items():
            monkeypatch.setenv(f"DURABLEFLOW_PLUGINS_{name}", text)
        app = app or App("orders", root=tmp_path)
        return {each.name: each.plugin for each in app.plan().plugins.active}

    return active


def ledger_plugin() -> ModuleType:
    import ledger_plugin

    return ledger_plugin


def test_what_is_installed_is_known_with_its_distribution_and_not_active(active):
    assert installed_plugins()["audit"].distribution == "ledger-plugin 1.4"
    assert not {"audit", "audit-log"} & set(active())


def test_a_table_makes_a_plugin_active_with_its_settings(active):
    plugins = active(
        """
        [plugins.audit]
        target = "ledger"
        most = 7
        ratio = 1
        strict = true
        folder = "logs"
        wait = 1.5
        names = ["a", "b"]
        """
    )

    assert plugins["audit"] == ledger_plugin().Audit(
        "ledger", 7, 1.0, True, Path("logs"), timedelta(seconds=1.5), ("a", "b")
    )


def test_an_empty_table_is_enough(active):
    assert isinstance(active("[plugins.audit-log]")["audit-log"], ledger_plugin().Plain)


def test_variables_make_a_plugin_active_with_its_settings(active):
    plugins = active(
        AUDIT_TARGET="ledger",
        AUDIT_MOST="7",
        AUDIT_STRICT="off",
        AUDIT_FOLDER="logs",
        AUDIT_WAIT="1.5",
        AUDIT_NAMES="a, b",
    )

    assert plugins["audit"] == ledger_plugin().Audit(
        "ledger", 7, 0.5, False, Path("logs"), timedelta(seconds=1.5), ("a", "b")
    )


def test_a_variable_wins_over_the_table(active):
    plugins = active('[plugins.audit]\ntarget = "file"\nmost = 3', AUDIT_TARGET="environment")

    assert plugins["audit"] == ledger_plugin().Audit("environment", 3)


def test_the_longest_name_that_fits_a_variable_is_meant(active):
    plugins = active(AUDIT_LOG="on")

    assert "audit-log" in plugins
    assert "audit" not in plugins


def test_a_plugin_of_settings_is_asked_before_those_of_the_program(active, tmp_path):
    app = App("orders", root=tmp_path, plugins=[NewestVersionRouting()])

    names = list(active("[plugins.audit-log]", app))

    assert names[:2] == ["audit-log", "durableflow.routing.NewestVersionRouting"]


def test_it_is_made_active_once_for_all_runs(active, tmp_path):
    app = App("orders", root=tmp_path)

    first, second = (active("[plugins.audit-log]", app) for _ in range(2))

    assert first["audit-log"] is second["audit-log"]


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ("[plugins.blob]", "'blob', which is not installed. Installed are 'audit', 'audit-log'"),
        ("[plugins.broken]", "'broken' .* cannot be imported from ledger_plugin_that_is_missing"),
        ("[plugins.audit]", "it is required @ plugins.audit.target"),
        ('[plugins.audit]\ntarget = "a"\nmst = 1', "no setting 'mst'.*It has 'target', 'most'"),
        ('[plugins.audit]\ntarget = "a"\nmost = 0', "at least one is needed"),
        ('[plugins.audit]\ntarget = "a"\nmost = true', "a number is needed, not bool"),
        ('[plugins.audit]\ntarget = "a"\nmost = "x"', "a number is needed"),
        ('[plugins.audit]\ntarget = "a"\nstrict = "x"', "true or false is needed"),
        ("[plugins.audit]\ntarget = 1", "text is needed, not int"),
        ("[plugins.audit-log]\ntarget = 1", "has no settings, but 'target' is set"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(active, toml, words):
    with pytest.raises(PluginError, match=words):
        active(toml)


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ('[plugins.audit]\ntarget = "a"\nmost = "hunter2"', "a number is needed"),
        ('[plugins.audit]\ntarget = "a"\nlevel = "hunter2"', "plugins.audit.level"),
        ('[plugins.audit]\ntarget = "x"\nnames = ["hunter2"]', "'…' is no name"),
    ],
)
def test_the_values_of_settings_are_not_told_in_a_traceback_either(active, toml, words):
    with pytest.raises(PluginError) as caught:
        active(toml)

    told = "".join(traceback.format_exception(caught.value))
    assert words in told
    assert "hunter2" not in told


def test_the_value_of_a_variable_that_means_nothing_is_not_told(active):
    with pytest.raises(PluginError) as caught:
        active(AUDIT="hunter2")

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("variable", "text", "words"),
    [
        ("AUDI_TARGET", "x", "AUDI_TARGET of the environment names no plugin"),
        ("AUDIT", "maybe", "write =on"),
    ],
)
def test_a_variable_that_means_nothing_is_refused(active, variable, text, words):
    with pytest.raises(PluginError, match=words):
        active(**{variable: text})


def test_a_plugin_of_the_program_is_not_made_once_more_by_settings(active, tmp_path):
    app = App("orders", root=tmp_path, plugins=[ledger_plugin().Plain()])

    with pytest.raises(PluginError, match=r"of the same class, 'ledger_plugin\.Plain'"):
        active("[plugins.audit-log]", app)


def test_settings_that_change_between_runs_are_refused(active, tmp_path):
    app = App("orders", root=tmp_path)
    active('[plugins.audit]\ntarget = "one"', app)

    with pytest.raises(PluginError, match="'audit' have changed"):
        active('[plugins.audit]\ntarget = "other"', app)
