"""Whatever fits its type arrives as it was sent, and always as the same text."""

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any, Generic, Literal, NamedTuple, NewType, TypeVar
from uuid import UUID

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from durableflow.converter import Converter

T = TypeVar("T")
Name = NewType("Name", str)


class Color(Enum):
    RED = "red"
    PAIR = (1, 2)
    NUMBER = 3


class Spot(NamedTuple):
    row: int
    column: float = 0.0


@attrs.frozen
class Leaf:
    number: int
    color: Color
    when: datetime | None = None


@dataclasses.dataclass(frozen=True)
class Twin:
    number: int
    spots: tuple[Spot, ...] = ()


@dataclasses.dataclass(frozen=True)
class Tree:
    label: str
    branches: "list[Tree | Leaf]"
    extra: frozenset[Leaf | Twin | str | date] = frozenset()


@attrs.frozen
class Page(Generic[T]):
    items: list[T]
    by_name: dict[str, T]


CONVERTER = Converter()

# The machine may be busy; a slow example is no failure.
unhurried = settings(deadline=None)

_hours = st.integers(-14, 14).map(lambda hours: timezone(timedelta(hours=hours)))
_names = st.text(max_size=5)
_floats = st.floats(allow_nan=False, allow_infinity=False)
_when = st.datetimes(timezones=st.just(UTC) | _hours)
_spots = st.builds(Spot, st.integers(), _floats)
_leaves = st.builds(Leaf, st.integers(), st.sampled_from(Color), st.none() | _when)
_twins = st.builds(Twin, st.integers(), st.lists(_spots, max_size=3).map(tuple))
_extras = st.frozensets(_leaves | _twins | _names | st.dates(), max_size=3)
_trees = st.recursive(
    st.builds(Tree, _names, st.just([]), _extras),
    lambda inner: st.builds(Tree, _names, st.lists(inner | _leaves, max_size=3), _extras),
    max_leaves=5,
)


def _scalars() -> list[tuple[Any, st.SearchStrategy[Any]]]:
    return [
        (bool, st.booleans()),
        (int, st.integers()),
        (float, _floats),
        (str, st.text(st.characters(), max_size=10)),
        (Name, _names),
        (bytes, st.binary(max_size=10)),
        (datetime, _when),
        (date, st.dates()),
        (timedelta, st.timedeltas(timedelta(days=-90_000), timedelta(days=90_000))),
        (Decimal, st.decimals(allow_nan=False, allow_infinity=False)),
        (UUID, st.uuids()),
        (Color, st.sampled_from(Color)),
        (Literal["a", 1, True], st.sampled_from(["a", 1, True])),
        (Spot, _spots),
        (Leaf, _leaves),
        (Twin, _twins),
    ]


def _containers(inner: Any, values: st.SearchStrategy[Any]) -> list[Any]:
    lists = st.lists(values, max_size=3)
    return [
        (list[inner], lists),
        (tuple[inner, ...], lists.map(tuple)),
        (tuple[inner, int], st.tuples(values, st.integers())),
        (dict[str, inner], st.dictionaries(_names, values, max_size=3)),
        (dict[int, inner], st.dictionaries(st.integers(), values, max_size=3)),
        (Page[inner], st.builds(Page, lists, st.dictionaries(_names, values, max_size=3))),
        (inner | None, values | st.none()),
    ]


@st.composite
def _typed_values(draw: Callable[..., Any]) -> tuple[Any, Any]:
    """Draw a type of some depth and a value of it."""
    declared, values = draw(st.sampled_from([*_scalars(), (Tree, _trees)]))
    for _ in range(draw(st.integers(0, 3))):
        declared, values = draw(st.sampled_from(_containers(declared, values)))
    return declared, draw(values)


@st.composite
def _members_of_unions(draw: Callable[..., Any]) -> tuple[Any, Any]:
    """Draw a union of scalars and classes, and a value of one of its members."""
    members = draw(st.lists(st.sampled_from(_scalars()), min_size=2, max_size=4))
    union = members[0][0]
    for declared, _ in members[1:]:
        union |= declared
    return union, draw(st.one_of(*(values for _, values in members)))


@unhurried
@given(_typed_values())
def test_a_value_arrives_as_it_was_sent(drawn):
    declared, value = drawn

    text = CONVERTER.dumps([value], list[declared], where="x")
    assert CONVERTER.loads(text, list[declared], where="x") == [value]


@unhurried
@given(_typed_values())
def test_what_arrived_has_the_same_text_again(drawn):
    declared, value = drawn

    text = CONVERTER.dumps([value], list[declared], where="x")
    again = CONVERTER.loads(text, list[declared], where="x")
    assert CONVERTER.dumps(again, list[declared], where="x") == text


@unhurried
@given(_members_of_unions())
def test_a_member_of_any_union_keeps_its_class(drawn):
    union, value = drawn

    text = CONVERTER.dumps([value], list[union], where="x")
    (arrived,) = CONVERTER.loads(text, list[union], where="x")
    assert arrived == value
    assert type(arrived) is type(value)


@unhurried
@given(_typed_values())
def test_an_undeclared_value_can_be_read_by_its_type(drawn):
    # Tags are needed only where a union is declared, and Tree declares one.
    declared, value = drawn
    text = CONVERTER.dumps([value], list[declared], where="x")
    if "_type" in text or "dict[int" in str(declared):
        return

    undeclared = CONVERTER.dumps([value], where="x")
    assert CONVERTER.loads(undeclared, list[declared], where="x") == [value]


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | _floats | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_names, inner, max_size=3),
    max_leaves=10,
)


@unhurried
@given(_json)
def test_undeclared_json_arrives_as_it_was_sent(value):
    text = CONVERTER.dumps([value], where="x")

    assert CONVERTER.loads(text, where="x") == [value]
    assert json.loads(text) == [value]


_PRINT_SETS = """
import attrs
from datetime import date
from typing import Any
from durableflow.converter import Converter

@attrs.frozen
class Leaf:
    name: str
    tags: frozenset[str]

class Plain:
    def __init__(self, b: int, a: int) -> None:
        self.b, self.a, self.c = b, a, {"z", "y", "x"}

names = frozenset("abcdefghij")
value = {
    "leaves": {Leaf(name, names) for name in names},
    "mixed": {1, "a", None, 2.5, date(2024, 5, 1), (1, "b")},
    "numbers": set(range(20)),
    "plain": Plain(1, 2),
}
print(Converter().dumps(value, where="x"))
print(Converter().dumps(value["leaves"], set[Leaf | str], where="x"))
"""


@pytest.mark.parametrize("seed", ["1", "2"])
def test_the_text_is_the_same_in_every_process(seed):
    def text(hash_seed: str) -> str:
        return subprocess.run(
            [sys.executable, "-c", _PRINT_SETS],
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    assert text(seed) == text("0") != ""
