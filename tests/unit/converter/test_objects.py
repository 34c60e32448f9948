"""attrs classes, dataclasses, named tuples, TypedDicts and generics of them."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import InitVar, dataclass, field
from threading import Lock
from typing import Any, Generic, NamedTuple, NotRequired, Required, TypedDict, TypeVar

import attrs
import pytest

from durableflow.converter import Record
from durableflow.errors import ConversionError

T = TypeVar("T")
K = TypeVar("K")


@attrs.frozen
class Order:
    Cost: float
    Product: str
    Quantity: int = 1


@attrs.define
class Account:
    owner: str
    _balance: int = attrs.field(default=0)
    limit: int = attrs.field(default=5, alias="credit", kw_only=True)
    tags: set[str] = attrs.field(factory=set, converter=set)
    seen: int = attrs.field(init=False, default=0)
    _lock: Any = attrs.field(init=False, factory=Lock, eq=False)


@attrs.frozen
class Checked:
    amount: int = attrs.field(validator=attrs.validators.gt(0))


@dataclass(frozen=True)
class Line:
    product: str
    price: float
    note: str = None  # type: ignore[assignment] # a habit of many programs


@dataclass
class Basket:
    lines: list[Line] = field(default_factory=list)
    total: float = field(init=False)

    def __post_init__(self) -> None:
        self.total = sum(line.price for line in self.lines)


@dataclass
class Node:
    name: str
    children: list[Node] = field(default_factory=list)
    parent_name: str | None = None


@dataclass
class Seeded:
    value: int = field(init=False)
    seed: InitVar[int]

    def __post_init__(self, seed: int) -> None:
        self.value = seed


class Place(NamedTuple):
    city: str
    population: int = 0


Pair = namedtuple("Pair", ["first", "second"])


class Options(TypedDict):
    name: str
    retries: NotRequired[int]


class Sparse(TypedDict, total=False):
    name: Required[str]
    places: list[Place]


@attrs.frozen
class Page(Generic[T]):
    items: list[T]
    following: Page[T] | None = None


@dataclass
class Entry(Generic[K, T]):
    key: K
    values: dict[str, T | None]


@attrs.frozen
class OrderPage(Page[Order]):
    count: int = 0


class Labelled(NamedTuple, Generic[T]):
    label: str
    value: T


@attrs.frozen
class Animal:
    name: str


@attrs.frozen
class Dog(Animal):
    breed: str


@attrs.frozen
class Unresolvable:
    thing: Elsewhere  # noqa: F821 # what this class is for


@pytest.mark.parametrize(
    ("value", "declared", "text"),
    [
        (Order(2000, "pen", 2), Order, '{"Cost":2000.0,"Product":"pen","Quantity":2}'),
        (Line("pen", 1.5), Line, '{"product":"pen","price":1.5,"note":null}'),
        (Basket([Line("pen", 2.0)]), Basket, None),
        (Account("me", 5, tags={"b", "a"}, credit=7), Account, None),
        (Node("a", [Node("b", [Node("c")])], "z"), Node, None),
        (Place("Oslo", 7), Place, '{"city":"Oslo","population":7}'),
        (Pair(1, "a"), Pair, '{"first":1,"second":"a"}'),
        ({"name": "a"}, Options, '{"name":"a"}'),
        ({"name": "a", "retries": 3}, Options, '{"name":"a","retries":3}'),
        ({"name": "a", "places": [Place("Oslo")]}, Sparse, None),
        (Page([Order(1, "a")], Page([Order(2, "b")])), Page[Order], None),
        (Page([Place("Oslo")]), Page[Place], None),
        (Entry(1, {"a": Place("Oslo"), "b": None}), Entry[int, Place], None),
        (OrderPage([Order(1, "a")], None, 1), OrderPage, None),
        (Labelled("a", Order(1, "a")), Labelled[Order], None),
        ([Order(1, "a")], list[Order], None),
        ({"a": [Place("Oslo")]}, dict[str, list[Place]], None),
    ],
)
def test_an_object_arrives_as_it_was_sent(write, read, value, declared, text):
    written = write(value, declared)

    assert text in (None, written)
    arrived = read(written, declared)
    assert arrived == value
    assert type(arrived) is type(value)


def test_an_object_is_written_alike_without_a_declared_type(write):
    for value in (Order(1, "a"), Line("a", 1), Place("Oslo"), Node("a", [Node("b")])):
        assert write(value) == write(value, type(value))


def test_an_array_is_accepted_for_a_named_tuple(read):
    assert read('["Oslo"]', Place) == Place("Oslo", 0)
    assert read('["Oslo",7]', Place) == Place("Oslo", 7)
    with pytest.raises(ConversionError, match="got 3 elements"):
        read('["Oslo",7,8]', Place)


def test_unknown_keys_are_ignored_since_senders_evolve(read):
    assert read('{"Cost":1,"Product":"a","Colour":"red"}', Order) == Order(1, "a")
    assert read('{"name":"a","other":1}', Options) == {"name": "a"}


def test_a_missing_key_takes_the_default(read):
    assert read('{"Cost":1,"Product":"a"}', Order) == Order(1, "a", 1)


@pytest.mark.parametrize(
    ("text", "declared", "path"),
    [
        ('{"Cost":1}', Order, "Product"),
        ('{"product":"a"}', Line, "price"),
        ("{}", Place, "city"),
        ("[]", Place, "city"),
        ('{"retries":1}', Options, "name"),
        ('[{"items":[{"Cost":1}]}]', list[Page[Order]], "[0].items[0].Product"),
    ],
)
def test_a_missing_required_key_is_an_error_with_its_path(read, text, declared, path):
    with pytest.raises(ConversionError, match="required, but missing") as caught:
        read(text, declared)

    assert caught.value.path == path


def test_a_default_of_none_makes_a_field_optional(read):
    assert read('{"product":"a","price":1,"note":null}', Line).note is None
    with pytest.raises(ConversionError):
        read('{"product":"a","price":1,"note":5}', Line)


def test_what_init_does_not_take_travels_unless_it_is_private(travel, write):
    account = Account("me")
    account.seen = 3

    assert "_lock" not in write(account)
    assert travel(account, Account).seen == 3


def test_a_field_that_was_never_set_is_left_out(write, travel):
    basket = Basket()
    del basket.total

    assert write(basket) == '{"lines":[]}'
    assert travel(basket, Basket).total == 0


def test_an_argument_of_init_that_is_no_field_is_an_error_of_the_class(read):
    with pytest.raises(ConversionError, match="Seeded, made from these values, raised TypeError"):
        read('{"value":1}', Seeded)


def test_what_a_validator_raises_is_the_cause(read):
    with pytest.raises(ConversionError, match=r"at \[0\]: Checked.* raised ValueError") as caught:
        read('[{"amount":-5}]', list[Checked])

    assert isinstance(caught.value.__cause__, ValueError)


def test_a_subclass_travels_whole_and_arrives_as_the_declared_class(write, read):
    written = write(Dog("Rex", "terrier"), Animal)

    assert written == '{"name":"Rex","breed":"terrier"}'
    assert read(written, Animal) == Animal("Rex")
    assert read(written, Dog) == Dog("Rex", "terrier")


def test_a_record_is_accepted_where_a_class_is_declared(read, write):
    record = read('[{"Cost":1,"Product":"a","Colour":"red"}]')

    assert write(record, list[Order]) == '[{"Cost":1.0,"Product":"a","Quantity":1}]'
    with pytest.raises(ConversionError, match=r"Product.*required"):
        write(Record(Cost=1), Order)


@pytest.mark.parametrize("value", [Line("a", 1), "a", 5, [1.0, "a", 1]])
def test_another_class_is_refused_where_it_is_written(write, value):
    with pytest.raises(ConversionError, match="expected Order, got"):
        write(value, Order)


@pytest.mark.parametrize("text", ["[1]", '"a"', "null", "5"])
def test_what_is_no_object_is_refused(read, text):
    with pytest.raises(ConversionError, match="expected Order, got"):
        read(text, Order)


def test_a_typed_dict_is_checked_where_it_is_written(write):
    with pytest.raises(ConversionError, match="name: required, but missing"):
        write({"retries": 1}, Options)
    with pytest.raises(ConversionError, match="retries: expected int, got str"):
        write({"name": "a", "retries": "1"}, Options)
    with pytest.raises(ConversionError, match="expected Options, got list"):
        write([], Options)


def test_a_key_that_a_typed_dict_does_not_declare_still_travels(write):
    assert write({"name": "a", "place": Place("Oslo")}, Options) == (
        '{"name":"a","place":{"city":"Oslo","population":0}}'
    )


def test_an_annotation_that_cannot_be_read_is_named(write):
    with pytest.raises(ConversionError, match=r"annotations of Unresolvable.*'Elsewhere'"):
        write(Unresolvable(1))


def test_an_unbound_generic_is_written_by_what_it_holds(write, read):
    written = write(Page([Order(1, "a")]))

    assert read(written, Page[Order]) == Page([Order(1, "a")])
    assert read(written, Page).items[0].Product == "a"
