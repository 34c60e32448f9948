"""The shipped routing: which function runs which instance, and what nobody here runs."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from durableflow.errors import PluginError
from durableflow.plugins import PluginSet
from durableflow.routing import (
    Abandon,
    ExactVersionRouting,
    Fail,
    NewestCompatibleRouting,
    NewestVersionRouting,
    Run,
    VersionRequest,
    WorkerVersionRouting,
)
from durableflow.versioning import Version, is_same_major

TEXTS = ["1.0", "1.0.0", "1.2", "2.0", "2.1rc1", "10.0", "green"]
SHIPPED = [
    NewestCompatibleRouting(),
    NewestVersionRouting(),
    *(
        WorkerVersionRouting(version=version, match=match, on_mismatch=on_mismatch)
        for version, match, on_mismatch in product(
            (None, "1.0.0", "2.0"), ("none", "strict", "current_or_older"), ("reject", "fail")
        )
    ),
    WorkerVersionRouting(default_version="1.2"),
]

versions = st.none() | st.just("") | st.sampled_from(TEXTS)
availability = st.lists(st.none() | st.sampled_from(TEXTS), unique=True, max_size=5).map(
    lambda found: tuple(sorted(found, key=lambda version: Version(version or "")))
)
# Registering plugins takes a moment.
SLOWLY = settings(deadline=None)

routings = st.lists(st.sampled_from(SHIPPED), unique=True, max_size=3)


def plugin_set(*routing: object) -> PluginSet:
    """A set as an app has it: the default first, so that it is asked last."""
    plugins = PluginSet()
    for plugin in (ExactVersionRouting(), *routing):
        plugins.register(plugin)
    return plugins


def resolve(routing: object | None, version: str | None, *available: str | None):
    plugins = plugin_set() if routing is None else plugin_set(routing)
    return plugins.resolve_version(VersionRequest("order", version, "instance"), available)


def stamped(routing: object | None, requested: str | None, *available: str | None):
    plugins = plugin_set() if routing is None else plugin_set(routing)
    return plugins.resolve_start_version("order", requested, None, available)


# The default


@pytest.mark.parametrize(
    ("version", "available", "chosen"),
    [
        ("1.0.0", ("1.0.0", "2.0.0"), "1.0.0"),
        ("2.0.0", (None, "1.0.0", "2.0.0"), "2.0.0"),
        ("3.0.0", (None, "1.0.0"), None),
        (None, (None, "1.0.0"), None),
        ("", (None, "1.0.0"), None),
        ("1.0.0", (None,), None),
    ],
)
def test_the_exact_version_runs_else_the_function_without_one(version, available, chosen):
    assert resolve(None, version, *available) == Run(chosen)


def test_a_version_that_nobody_has_waits_and_says_what_is_there():
    answer = resolve(None, "3.0.0", "1.0.0", "2.0.0")

    assert isinstance(answer, Abandon)
    assert "'3.0.0'" in answer.reason
    assert "'1.0.0', '2.0.0'" in answer.reason


def test_an_instance_without_a_version_does_not_take_a_versioned_function():
    answer = resolve(None, None, "1.0.0")

    assert isinstance(answer, Abandon)
    assert "without a version" in answer.reason


def test_an_unknown_name_waits_and_says_so():
    answer = resolve(None, "1.0.0")

    assert isinstance(answer, Abandon)
    assert "no orchestrator 'order'" in answer.reason


def test_the_text_decides_not_the_order_of_versions():
    assert isinstance(resolve(None, "1.0", "1.0.0"), Abandon)


def test_starts_get_what_was_asked_for_else_the_newest():
    assert stamped(None, "2.0", "1.0", "3.0") == "2.0"
    assert stamped(None, None, None, "1.0", "3.0") == "3.0"
    assert stamped(None, "", None, "1.0", "3.0") is None
    assert stamped(None, None, None) is None
    assert stamped(None, None) is None


def test_workers_name_what_has_a_function_and_ask_for_all_if_one_takes_any():
    plugins = plugin_set()

    assert plugins.work_item_versions("order", ("1.0", "2.0")) == ("1.0", "2.0")
    assert plugins.work_item_versions("order", (None, "2.0")) == (None, "2.0")


# The newest, or the newest that is compatible


@pytest.mark.parametrize(
    ("version", "available", "chosen"),
    [
        ("1.2", ("1.0", "1.2", "1.10", "2.0"), "1.10"),
        ("1.2", ("1.10", "2.0"), "1.10"),
        ("2.0", (None, "1.10", "2.0"), "2.0"),
        ("3.0", (None, "2.0"), None),
        (None, (None, "2.0"), None),
    ],
)
def test_compatible_is_the_newest_of_the_same_major_version(version, available, chosen):
    assert resolve(NewestCompatibleRouting(), version, *available) == Run(chosen)


def test_an_instance_does_not_go_back_to_older_code():
    answer = resolve(NewestCompatibleRouting(), "1.5", "1.4", "2.0")

    assert isinstance(answer, Abandon)
    assert "'1.5'" in answer.reason


@pytest.mark.parametrize("version", [None, "1.0", "9.0"])
def test_the_newest_runs_everything(version):
    assert resolve(NewestVersionRouting(), version, None, "1.0", "2.0") == Run("2.0")


def test_without_any_function_the_newest_waits():
    assert isinstance(resolve(NewestVersionRouting(), "1.0"), Abandon)


# One version for the worker


def worker(match: str, on_mismatch: str = "reject", version: str | None = "2.0"):
    return WorkerVersionRouting(version=version, match=match, on_mismatch=on_mismatch)


@pytest.mark.parametrize(
    ("match", "runs"),
    [
        ("none", ["", "1.0", "2.0", "2.0.0", "3.0"]),
        ("strict", ["2.0", "2.0.0"]),
        ("current_or_older", ["", "1.0", "2.0", "2.0.0"]),
    ],
)
def test_a_worker_runs_what_matches_its_version(match, runs):
    every = ["", "1.0", "2.0", "2.0.0", "3.0"]

    assert [v for v in every if isinstance(resolve(worker(match), v, None), Run)] == runs


@pytest.mark.parametrize("match", ["strict", "current_or_older"])
def test_a_worker_without_a_version_runs_what_has_none(match):
    routing = worker(match, version=None)

    assert resolve(routing, None, None) == Run(None)
    assert isinstance(resolve(routing, "1.0", None), Abandon)


def test_what_does_not_match_waits_or_fails_and_says_why():
    waits = resolve(worker("strict"), "3.0", None)
    fails = resolve(worker("strict", "fail"), "3.0", None)

    assert isinstance(waits, Abandon)
    assert isinstance(fails, Fail)
    assert "'3.0'" in fails.reason
    assert "'2.0' only" in fails.reason


def test_the_default_version_is_for_what_was_asked_for_without_one():
    routing = WorkerVersionRouting(version="2.0", default_version="1.2")

    assert stamped(routing, None, None) == "1.2"
    assert stamped(routing, "", None) == "1.2"
    assert stamped(routing, "3.0", None) == "3.0"


def test_a_policy_that_does_not_exist_is_refused_by_name():
    with pytest.raises(PluginError, match="match='exact' is none of none, strict"):
        WorkerVersionRouting(match="exact")
    with pytest.raises(PluginError, match="on_mismatch='wait' is none of reject, fail"):
        WorkerVersionRouting(on_mismatch="wait")


# All of them


@given(routings, versions, availability)
@SLOWLY
def test_routing_is_pure_and_chooses_only_what_is_there(routing, version, available):
    plugins = plugin_set(*routing)
    request = VersionRequest("order", version, "instance")

    answers = [plugins.resolve_version(request, available) for _ in range(2)]

    assert answers[0] == answers[1]
    assert not isinstance(answers[0], Run) or answers[0].version in available


@given(routings, versions, availability.filter(bool))
@SLOWLY
def test_a_worker_asks_for_everything_that_it_would_run_or_fail(routing, version, available):
    plugins = plugin_set(*routing)
    answer = plugins.resolve_version(VersionRequest("order", version, "instance"), available)
    asked = plugins.work_item_versions("order", available)

    asks_for_it = None in asked or (version or "") in asked

    # One release has many texts; those other than its own reach a strict worker of no engine.
    other_texts = any(isinstance(r, WorkerVersionRouting) and r.match == "strict" for r in routing)
    assert asks_for_it or isinstance(answer, Abandon) or other_texts


@given(versions, availability.filter(bool))
@SLOWLY
def test_the_default_asks_for_exactly_what_it_runs(version, available):
    asked = plugin_set().work_item_versions("order", available)

    asks_for_it = None in asked or (version or "") in asked

    assert asks_for_it == isinstance(resolve(None, version, *available), Run)


@given(versions, availability)
@SLOWLY
def test_compatible_code_is_never_older_than_the_instance(version, available):
    answer = resolve(NewestCompatibleRouting(), version, *available)

    if isinstance(answer, Run) and answer.version and version:
        assert is_same_major(answer.version, version)
        assert Version(answer.version) >= version
