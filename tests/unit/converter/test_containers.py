"""Lists, tuples, sets and mappings."""

from collections import Counter, OrderedDict, UserList, defaultdict, deque
from collections.abc import (
    Collection,
    Iterable,
    Mapping,
    MutableMapping,
    MutableSequence,
    Sequence,
    Set,
)
from datetime import date
from enum import IntEnum
from types import MappingProxyType
from typing import Any, Literal
from uuid import UUID

import attrs
import pytest

from durableflow.errors import ConversionError


class Level(IntEnum):
    LOW = 1


@attrs.frozen
class Spot:
    row: int
    column: int


class Names(list[str]):
    pass


@pytest.mark.parametrize(
    ("value", "declared", "text"),
    [
        ([1, 2], list[int], "[1,2]"),
        ([1, "a", None, [True]], list, '[1,"a",null,[true]]'),
        ([1, 2.5], list[float], "[1.0,2.5]"),
        ([date(2024, 5, 1)], Sequence[date], '["2024-05-01"]'),
        (["a"], MutableSequence[str], '["a"]'),
        (["a"], Iterable[str], '["a"]'),
        (["a"], Collection[str], '["a"]'),
        (deque([1, 2]), deque[int], "[1,2]"),
        (Names(["a"]), Names, '["a"]'),
        ((1, 2, 3), tuple[int, ...], "[1,2,3]"),
        ((1, "a"), tuple[int, str], '[1,"a"]'),
        ((), tuple[()], "[]"),
        ((1, "a"), tuple, '[1,"a"]'),
        ({"b", "a"}, set[str], '["a","b"]'),
        (frozenset({10, 9}), frozenset[int], "[9,10]"),
        ({1, 2}, Set[int], "[1,2]"),
        ({(2, 1), (10, 0)}, set[tuple[int, int]], "[[10,0],[2,1]]"),
        ({Spot(2, 1), Spot(1, 2)}, set[Spot], '[{"row":1,"column":2},{"row":2,"column":1}]'),
        ({"b": 1, "a": 2}, dict[str, int], '{"b":1,"a":2}'),
        ({"a": {"b": [1]}}, dict[str, dict[str, list[int]]], '{"a":{"b":[1]}}'),
        ({"a": 1.5}, Mapping[str, float], '{"a":1.5}'),
        ({"a": 1}, MutableMapping[str, int], '{"a":1}'),
        ({"a": 1}, dict, '{"a":1}'),
        (OrderedDict(b=1, a=2), OrderedDict[str, int], '{"b":1,"a":2}'),
        (Counter(a=2), Counter[str], '{"a":2}'),
        (defaultdict(list, a=[1]), defaultdict[str, list[int]], '{"a":[1]}'),
        ({1: "a"}, dict[int, str], '{"1":"a"}'),
        ({1.5: "a"}, dict[float, str], '{"1.5":"a"}'),
        ({True: "a"}, dict[bool, str], '{"true":"a"}'),
        ({date(2024, 5, 1): 1}, dict[date, int], '{"2024-05-01":1}'),
        ({UUID(int=0): 1}, dict[UUID, int], '{"00000000-0000-0000-0000-000000000000":1}'),
        ({Level.LOW: 1}, dict[Level, int], '{"1":1}'),
        ({(1, 2): 3}, dict[tuple[int, int], int], '{"[1,2]":3}'),
        ({Spot(1, 2): 3}, dict[Spot, int], '{"{\\"row\\":1,\\"column\\":2}":3}'),
    ],
)
def test_a_container_arrives_as_it_was_sent(write, read, value, declared, text):
    written = write(value, declared)

    assert written == text
    arrived = read(written, declared)
    assert arrived == value
    assert type(arrived) is type(value)


def test_a_defaultdict_keeps_making_defaults(travel):
    arrived = travel(defaultdict(list), defaultdict[str, list[int]])

    assert arrived["new"] == []


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ((1, (2, 3)), "[1,[2,3]]"),
        ({"b", "a"}, '["a","b"]'),
        ({1, "a", None}, '["a",1,null]'),
        (range(3), "[0,1,2]"),
        (UserList([1]), "[1]"),
        ({"a": 1}.keys(), '["a"]'),
        (MappingProxyType({"a": date(2024, 5, 1)}), '{"a":"2024-05-01"}'),
        ([Spot(1, 2)], '[{"row":1,"column":2}]'),
    ],
)
def test_an_undeclared_container_is_written_by_what_it_is(write, value, text):
    assert write(value) == text


@pytest.mark.parametrize(
    ("value", "declared"),
    [
        ((1, 2), list[int]),
        ([1, 2], tuple[int, int]),
        (range(1, 3), Sequence[int]),
        ({1, 2}, Iterable[int]),
    ],
)
def test_what_serves_as_the_declared_container_is_accepted(write, value, declared):
    assert write(value, declared) == "[1,2]"


@pytest.mark.parametrize(
    ("value", "declared"),
    [
        ("abc", list[str]),
        ("abc", Iterable[str]),
        (b"abc", Sequence[int]),
        ({"a": 1}, list[str]),
        ({"a": 1}, Iterable[str]),
        ({1}, list[int]),
        ([1], set[int]),
        ([("a", 1)], dict[str, int]),
        ("ab", tuple[str, str]),
        ((1, 2, 3), tuple[int, int]),
        ((1,), tuple[int, int]),
    ],
)
def test_a_container_of_another_kind_is_refused_where_it_is_written(write, value, declared):
    with pytest.raises(ConversionError, match="expected"):
        write(value, declared)


@pytest.mark.parametrize(
    ("text", "declared"),
    [
        ('"abc"', list[str]),
        ('"abc"', tuple[str, ...]),
        ('"abc"', set[str]),
        ('{"a":1}', list[str]),
        ("[1,2,3]", tuple[int, int]),
        ("[1]", tuple[int, int]),
        ("[1]", dict[str, int]),
        ("null", list[int]),
        ('{"one":1}', dict[int, int]),
    ],
)
def test_json_of_another_kind_is_refused(read, text, declared):
    with pytest.raises(ConversionError, match="expected"):
        read(text, declared)


def test_keys_that_are_no_text_need_a_declared_type(write):
    with pytest.raises(ConversionError, match="a key of this dict: expected str, got int"):
        write({1: "a"})


def test_keys_that_become_the_same_text_are_refused(write):
    with pytest.raises(ConversionError, match=r"two keys of this dict.* become the same text"):
        write({1: "a", "1": "b"}, dict[Literal[1, "1"], str])


def test_keys_of_a_union_are_refused_since_nothing_tells_them_apart(write):
    with pytest.raises(ConversionError, match="cannot be told apart"):
        write({1: "a"}, dict[int | str, str])


def test_keys_of_a_text_class_are_text(write):
    class Name(str):
        __slots__ = ()

    assert write({Name("a"): 1}) == '{"a":1}'


def test_elements_that_cannot_be_in_a_set_are_refused(read):
    with pytest.raises(ConversionError, match="cannot be in a set"):
        read("[[1]]", set[Any])


def test_a_class_that_json_cannot_make_is_refused(read):
    with pytest.raises(ConversionError, match="cannot be made from JSON; declare list"):
        read("[0,1]", range)


def test_a_container_that_contains_itself_is_refused(write):
    loop: list[Any] = []
    loop.append(loop)

    with pytest.raises(ConversionError, match="contains itself"):
        write(loop)


def test_nesting_too_deep_to_read_is_refused(read):
    with pytest.raises(ConversionError, match="nested too deeply"):
        read("[" * 100_000, list[Any])
