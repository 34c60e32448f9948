"""The default routing: the exact version, else the function without one, else wait."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durableflow.routing import Abandon, ExactVersionRouting, Run, VersionRequest

names = st.sampled_from(["1.0", "1.0.0", "2.0", "10.0"])
availability = st.lists(st.none() | names, unique=True, max_size=5).map(tuple)


def resolve(version: str | None, *available: str | None):
    request = VersionRequest("order", version, "instance")
    return ExactVersionRouting().resolve_version(request, available)


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
    assert resolve(version, *available) == Run(chosen)


def test_a_version_that_nobody_has_waits_and_says_what_is_there():
    answer = resolve("3.0.0", "1.0.0", "2.0.0")

    assert isinstance(answer, Abandon)
    assert "'3.0.0'" in answer.reason
    assert "'1.0.0', '2.0.0'" in answer.reason


def test_an_instance_without_a_version_does_not_take_a_versioned_function():
    answer = resolve(None, "1.0.0")

    assert isinstance(answer, Abandon)
    assert "without a version" in answer.reason


def test_an_unknown_name_waits_and_says_so():
    answer = resolve("1.0.0")

    assert isinstance(answer, Abandon)
    assert "no orchestrator 'order'" in answer.reason


def test_the_text_decides_not_the_order_of_versions():
    assert isinstance(resolve("1.0", "1.0.0"), Abandon)


def test_starts_get_the_version_that_was_asked_for():
    routing = ExactVersionRouting()

    assert routing.resolve_start_version("2.0") == "2.0"
    assert routing.resolve_start_version(None) is None


def test_workers_ask_for_their_versions_or_for_all_if_one_function_takes_any():
    routing = ExactVersionRouting()

    assert routing.work_item_versions(("1.0", "2.0")) == ("1.0", "2.0")
    assert routing.work_item_versions((None, "2.0")) == ()


@given(st.none() | st.just("") | names, availability)
def test_routing_is_pure_and_chooses_only_what_is_there(version, available):
    answers = [resolve(version, *available) for _ in range(2)]

    assert answers[0] == answers[1]
    assert isinstance(answers[0], Abandon) or answers[0].version in available


@given(st.none() | names, availability.filter(bool))
def test_what_a_worker_asks_for_is_what_it_would_run(version, available):
    asked = ExactVersionRouting().work_item_versions(available)

    delivered = not asked or (version or "") in asked

    assert delivered == isinstance(resolve(version, *available), Run)
