"""Versions: equal as text, ordered as versions."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version as ParsedVersion

from durableflow.versioning import Version, is_same_major, is_same_release

versions = st.builds(
    Version,
    st.text(max_size=12)
    | st.text(alphabet="0123456789.-_+vabrcdev ", max_size=12)
    | st.lists(st.integers(0, 20), min_size=1, max_size=4).map(
        lambda numbers: ".".join(map(str, numbers))
    ),
)

numbers = st.integers(0, 12)
pre_releases = st.tuples(
    st.sampled_from(["a", "b", "c", "rc", "alpha", "beta", "preview"]), numbers
)
local_segments = st.sampled_from(["dev", "rc", "build", "x", "1", "10", "007"])


@st.composite
def specified_versions(draw: st.DrawFn) -> str:
    """Every shape that the version specifiers specification knows."""
    epoch = draw(st.none() | numbers)
    pre = draw(st.none() | pre_releases)
    post, dev = draw(st.none() | numbers), draw(st.none() | numbers)
    local = draw(st.lists(local_segments, max_size=3))
    return "".join(
        [
            "" if epoch is None else f"{epoch}!",
            ".".join(map(str, draw(st.lists(numbers, min_size=1, max_size=4)))),
            "" if pre is None else f"{pre[0]}{pre[1]}",
            "" if post is None else f".post{post}",
            "" if dev is None else f".dev{dev}",
            f"+{'.'.join(local)}" if local else "",
        ]
    )


ASCENDING = [
    "",
    "0.1",
    "0.9.9",
    "1.0.0-dev",
    "1.0.0-alpha.1",
    "1.0.0-alpha.2",
    "1.0.0-beta",
    "1.0.0rc1",
    "1.0.0rc2",
    "1.0.0rc10",
    "1.0.0",
    "1.0.0.post1",
    "1.0.1",
    "1.2",
    "1.10",
    "9.0.0",
    "10.0.0",
    "2024.12.31",
    "2025-01-01",
]


@pytest.mark.parametrize(("lower", "higher"), list(pairwise(ASCENDING)))
def test_orders_as_people_expect(lower, higher):
    assert Version(lower) < Version(higher)
    assert Version(lower) <= Version(higher)
    assert Version(higher) > Version(lower)
    assert Version(higher) >= Version(lower)
    assert not Version(lower) >= Version(higher)


def test_compares_with_plain_text_from_both_sides():
    assert Version("10.0.0") > "9.0.0"
    assert "9.0.0" < Version("10.0.0")  # noqa: SIM300  # the side is the point
    assert sorted([Version("10"), Version("9"), Version("")]) == ["", "9", "10"]


def test_an_absent_version_is_falsy_and_compares():
    assert not Version("")
    assert Version("") < "0.0.1"
    assert not Version("") > "1.0.0"
    assert Version("") == ""


def test_trailing_zeros_neither_raise_nor_lower_a_version():
    assert not Version("1.0") < "1.0.0"
    assert not Version("1.0") > "1.0.0"
    assert Version("1.0") != "1.0.0"
    assert is_same_release("1.0", "1.0.0")
    assert not is_same_release("1.0", "1.0.1")


def test_a_leading_v_does_not_matter_for_the_order():
    assert Version("v2") > "1.9"
    assert is_same_release("v1.0", "1")


def test_numbers_of_any_length_compare_by_value():
    assert Version("1." + "9" * 10_000) < Version("1.1" + "0" * 10_000)


def test_other_objects_do_not_compare():
    with pytest.raises(TypeError):
        _ = Version("1") < 1


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("1.2", "1.10.3", True),
        ("1", "1.0rc1", True),
        ("v2.1", "2", True),
        ("0.3", "0", True),
        ("1.9", "2.0", False),
        ("1!1.0", "1.0", False),
        ("", "", False),
        ("1.0", "", False),
    ],
)
def test_the_first_number_is_the_major_version(one, other, same):
    assert is_same_major(one, other) is same


@given(specified_versions(), specified_versions())
def test_what_packaging_reads_orders_as_packaging_says(one, other):
    assert (Version(one) < other) == (ParsedVersion(one) < ParsedVersion(other))
    assert is_same_release(one, other) == (ParsedVersion(one) == ParsedVersion(other))


@given(versions, versions)
def test_exactly_one_of_before_after_and_neither(one, other):
    assert [one < other, one > other, is_same_release(one, other)].count(True) == 1
    assert (one <= other) == (not one > other)
    assert (one >= other) == (not one < other)
    assert (one < other) == (other > one)


@given(versions, versions, versions)
def test_the_order_is_transitive(one, two, three):
    low, middle, high = sorted([one, two, three])

    assert low <= middle <= high
    assert low <= high


@given(versions, versions)
def test_equality_and_hash_are_those_of_the_text(one, other):
    assert (one == other) == (str(one) == str(other))
    assert hash(one) == hash(str(one))
    if one == other:
        assert is_same_release(one, other)


@given(versions)
def test_nothing_is_before_the_absent_version(version):
    assert Version("") <= version
    assert is_same_release("", version) == (version == "")
