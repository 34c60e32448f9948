"""Unions: bare where JSON tells their members apart, tagged where it does not."""

import sys
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Generic, Literal, NewType, Protocol, TypedDict, TypeVar
from uuid import UUID

import attrs
import pytest
from typing_extensions import TypeAliasType

from durableflow.converter import Record
from durableflow.errors import ConversionError

T = TypeVar("T")


class Color(Enum):
    RED = "red"


@attrs.frozen
class Order:
    cost: float


@attrs.frozen
class Refund:
    cost: float
    reason: str = ""


@attrs.frozen
class RushOrder(Order):
    hours: int = 1


@attrs.frozen
class Card:
    kind: Literal["card"]
    number: str


@attrs.frozen
class Cash:
    kind: Literal["cash"]


@attrs.frozen
class Odd:
    _type: str
    _value: int


@attrs.frozen
class Page(Generic[T]):
    items: list[T]


class Payment(TypedDict):
    method: Order | Refund


class Named(Protocol):
    name: str


@attrs.frozen
class Person:
    name: str


Email = NewType("Email", str)
Pair = TypeAliasType("Pair", tuple[T, T], type_params=(T,))
Either = TypeAliasType("Either", Order | Refund)


@pytest.mark.parametrize(
    ("value", "declared", "text"),
    [
        (None, int | None, None),
        ([None, 1], list[int | None], "[null,1]"),
        ([1, "a", 1.0, True, None], list[int | str | float | bool | None], '[1,"a",1.0,true,null]'),
        ([Order(1), None], list[Order | None], '[{"cost":1.0},null]'),
        ([Order(1), "a"], list[Order | str], '[{"cost":1.0},"a"]'),
        (["a", ["b"], {"c": 1}], list[str | list[str] | dict[str, int]], '["a",["b"],{"c":1}]'),
        (["big", 5], list[Literal["big"] | int], '["big",5]'),
        (["big", True], list[Literal["big", True] | int], '["big",true]'),
        ([1, 2.5, 1.0], list[float | Literal[1]], "[1,2.5,1.0]"),
        ([1, True, 0.5], list[bool | float | Literal["a", 1, True]], "[1,true,0.5]"),
        (["big", "other"], list[Literal["big"] | str], '["big","other"]'),
        ([date(2024, 5, 1), 1], list[date | int], '["2024-05-01",1]'),
        (Order(1), Order | Refund, '{"_type":"Order","cost":1.0}'),
        (Refund(1, "x"), Order | Refund, '{"_type":"Refund","cost":1.0,"reason":"x"}'),
        ("2024-05-01", str | date, '"2024-05-01"'),
        (date(2024, 5, 1), str | date, '{"_type":"date","_value":"2024-05-01"}'),
        (UUID(int=0), UUID | Decimal, None),
        (Color.RED, Color | str, '{"_type":"Color","_value":"red"}'),
        ([1], list[int] | set[int], '{"_type":"list[int]","_value":[1]}'),
        ({1}, list[int] | set[int], '{"_type":"set[int]","_value":[1]}'),
        (["a"], list[int] | list[str], None),
        ({"_type": "Order"}, dict[str, str] | Order, None),
        (Odd("x", 1), Odd | Order, '{"_type":"Odd","_value":{"_type":"x","_value":1}}'),
        (Page([Order(1)]), Page[Order] | Page[str], None),
        (Page(["a"]), Page[Order] | Page[str], None),
        (Card("card", "1"), Card | Cash, None),
        ({"method": Refund(1)}, Payment, None),
        (Order(1), Annotated[Order | Refund, "either"], None),
        (Email("a"), Email | int, '"a"'),
    ],
)
def test_a_member_of_a_union_arrives_as_it_was_sent(write, read, value, declared, text):
    written = write(value, declared)

    if text is not None:
        assert written == text
    arrived = read(written, declared)
    assert arrived == value
    assert type(arrived) is type(value)


def test_a_union_with_any_is_any(read, write):
    assert read(write({"a": Order(1)}, Order | Any), Order | Any) == Record(a=Record(cost=1.0))


def test_an_int_serves_where_only_a_float_is_offered(travel):
    assert travel(1, float | str) == 1.0


def test_a_subclass_travels_under_the_tag_of_its_base(write):
    assert write(RushOrder(1, 2), Order | Refund) == '{"_type":"Order","cost":1.0,"hours":2}'


def test_untagged_objects_of_other_senders_are_told_apart_by_their_fields(read):
    assert read('{"cost":1,"kind":"cash"}', Card | Cash) == Cash("cash")
    assert read('{"kind":"card","number":"1"}', Card | Cash) == Card("card", "1")
    assert read('"00000000-0000-0000-0000-000000000000"', UUID | date) == UUID(int=0)


def test_an_untagged_object_that_fits_two_members_is_refused(read):
    with pytest.raises(ConversionError, match="without the tag to say which"):
        read('{"cost":1}', Order | Refund)


def test_an_untagged_value_that_fits_no_member_is_refused(read):
    with pytest.raises(ConversionError, match=r"expected Order \| Refund, got dict that is none"):
        read('{"price":1}', Order | Refund)
    with pytest.raises(ConversionError, match=r"expected int \| str, got list"):
        read("[]", int | str)


def test_an_unknown_tag_is_refused_and_imports_nothing(read):
    with pytest.raises(ConversionError, match="_type to be one of Order, Refund"):
        read('{"_type":"os.system","cost":1}', Order | Refund)
    with pytest.raises(ConversionError, match="_type to be one of Order, Refund"):
        read('{"_type":["Order"],"cost":1}', Order | Refund)


def test_the_path_leads_into_the_member_that_was_meant(read, write):
    with pytest.raises(ConversionError, match="reason: expected str, got int"):
        read('{"_type":"Refund","cost":1,"reason":5}', Order | Refund)
    with pytest.raises(ConversionError, match="reason: expected str, got int"):
        write(Refund(1, 5), Order | Refund)  # type: ignore[arg-type] # what this test is for
    with pytest.raises(ConversionError, match="cost: expected float, got str"):
        read('{"cost":"1"}', Order | None)


def test_a_value_of_no_member_is_refused_where_it_is_written(write):
    with pytest.raises(ConversionError, match=r"expected Order \| Refund, got str"):
        write("a", Order | Refund)
    with pytest.raises(ConversionError, match=r"expected int \| str, got float"):
        write(1.5, int | str)


def test_a_record_is_accepted_where_exactly_one_member_fits(read, write):
    record = read('{"cost":1,"reason":"x"}')

    assert write(record, Refund | Card) == '{"_type":"Refund","cost":1.0,"reason":"x"}'
    with pytest.raises(ConversionError, match="without the tag"):
        write(record, Order | Refund)


def test_members_of_the_same_name_have_tags_with_their_modules(travel, write):
    other = attrs.make_class("Order", ["name"], frozen=True)

    assert f'"_type":"{__name__}.Order"' in write(Order(1), Order | other)
    assert travel(other("a"), Order | other) == other("a")


def test_a_mapping_beside_tagged_members_is_tagged_as_well(travel):
    looks_tagged = {"_type": "Order", "cost": 1.0}
    declared = Order | Refund | Mapping[str, Any]

    assert travel(looks_tagged, declared) == looks_tagged


def test_a_union_inside_an_alias_is_one_union(travel):
    inner = Annotated[str | int, "either"]

    assert travel([1, "a", None, date(2024, 5, 1)], list[inner | date | None]) == [
        1,
        "a",
        None,
        date(2024, 5, 1),
    ]


def test_a_datetime_is_no_date_to_a_union(travel):
    noon = datetime(2024, 5, 1, 12)  # noqa: DTZ001 # naive ones travel too

    assert travel(noon, date | datetime) == noon


def test_an_alias_means_what_it_stands_for(travel, read):
    assert travel(Refund(1), Either) == Refund(1)
    assert travel([Refund(1), Person("a")], list[Either | Person]) == [Refund(1), Person("a")]
    assert travel((1, 2), Pair[int]) == (1, 2)
    with pytest.raises(ConversionError, match=r"at \[0\]: expected int"):
        read('["a",2]', Pair[int])


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the statement came with Python 3.12")
def test_an_alias_may_contain_itself(travel):
    names: dict[str, Any] = {}
    exec("type Json = None | int | str | list[Json] | dict[str, Json]", names)

    value = [1, {"a": [None, "b", {"c": []}]}]
    assert travel(value, names["Json"]) == value


def test_a_protocol_in_a_union_takes_what_nothing_else_does(write):
    assert write(Person("a"), Named | int) == '{"name":"a"}'
