"""Classes without declared fields, and what is not taken for one."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from io import StringIO
from types import SimpleNamespace
from typing import Any, Generic, Protocol, TypeVar

import pytest

from durableflow.errors import ConversionError

T = TypeVar("T")


class Comparable:
    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment] # they change


class Item(Comparable):
    def __init__(self, name: str, price: float = 1.0, *, tags: set[str] | None = None) -> None:
        self.name = name
        self.price = price
        self.tags = tags
        self.history: list[int] = []
        self._cache = object()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Item) and (self.name, self.price, self.tags, self.history) == (
            other.name,
            other.price,
            other.tags,
            other.history,
        )

    __hash__ = None  # type: ignore[assignment] # they change


class Cart(Comparable):
    label: str
    best: Item

    def __init__(self, items: list[Item]) -> None:
        self.items = items


class Hidden:
    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def name(self) -> str:
        return self._name


class Slotted:
    __slots__ = ("_secret", "x", "y")

    def __init__(self, x: int) -> None:
        self.x = x
        self._secret = 1


class Loose(Comparable):
    def __init__(self, a, b=None):
        self.a = a
        self.b = b


class Open:
    def __init__(self, name: str, *rest: int, **others: int) -> None:
        self.name = name


class Forgetful:
    def __init__(self, path: str) -> None:
        self.size = len(path)


class Box(Comparable, Generic[T]):
    def __init__(self, content: T) -> None:
        self.content = content


class Money:
    def __init__(self, cents: int) -> None:
        self.cents = cents

    def to_json(self) -> str:
        return f"{self.cents / 100:.2f}"

    @classmethod
    def from_json(cls, text: str) -> "Money":
        return cls(round(float(text) * 100))


class WriteOnly(Item):
    def to_json(self) -> Any:
        return {"name": self.name, "price": Money(150)}


class ReadOnly(Comparable):
    def __init__(self, value: int) -> None:
        self.value = value

    @classmethod
    def from_json(cls, data: dict[str, int]) -> "ReadOnly":
        return cls(data["value"] + 1)


class Shape(ABC):
    @abstractmethod
    def area(self) -> float: ...


class Square(Shape):
    def __init__(self, side: float) -> None:
        self.side = side

    def area(self) -> float:
        return self.side**2


class HasName(Protocol):
    name: str


class Broken:
    def __init__(self, name: str = "") -> None:
        pass

    @property
    def name(self) -> str:
        raise RuntimeError("broken")


class UserError(Exception):
    pass


def test_public_attributes_travel_and_init_makes_the_object_again(write, travel):
    item = Item("pen", 2, tags={"b", "a"})
    item.history.append(7)

    assert write(item) == '{"name":"pen","price":2.0,"tags":["a","b"],"history":[7]}'
    assert travel(item, Item) == item


def test_attributes_annotated_in_the_class_are_set_after_init(travel):
    cart = Cart([Item("pen")])
    cart.label = "mine"
    cart.best = cart.items[0]

    assert travel(cart, Cart) == cart


def test_a_namespace_keeps_all_its_attributes(write, travel):
    namespace = SimpleNamespace(b=1, a=SimpleNamespace(c=2))

    assert write(namespace) == '{"b":1,"a":{"c":2}}'
    assert travel(namespace, SimpleNamespace).a.c == 2


def test_a_parameter_is_found_as_a_property(travel):
    assert travel(Hidden("me"), Hidden).name == "me"


def test_slots_are_attributes_too(write, travel):
    slotted = Slotted(1)
    slotted.y = 2

    assert write(slotted) == '{"x":1,"y":2}'
    assert (travel(slotted, Slotted).x, travel(slotted, Slotted).y) == (1, 2)


def test_an_unannotated_class_keeps_plain_values(travel):
    assert travel(Loose(1, "b"), Loose) == Loose(1, "b")


def test_further_arguments_of_init_are_left_out(write, travel):
    assert write(Open("a", 1, b=2)) == '{"name":"a"}'
    assert travel(Open("a"), Open).name == "a"


def test_a_generic_class_has_its_types_bound(travel):
    assert travel(Box(Item("pen")), Box[Item]) == Box(Item("pen"))


def test_unknown_keys_are_ignored_and_missing_ones_named(read):
    assert read('{"name":"pen","colour":"red"}', Item) == Item("pen")
    with pytest.raises(ConversionError, match="name: required, but missing"):
        read("{}", Item)


def test_a_record_is_accepted_where_a_plain_class_is_declared(read, write):
    assert write(read('{"name":"pen"}'), Item) == write(Item("pen"))


def test_an_object_that_could_not_be_made_again_is_refused_where_it_is_written(write):
    with pytest.raises(ConversionError, match=r"no attribute 'path'.* to_json and from_json"):
        write([Forgetful("abc")])


def test_a_class_that_converts_itself_is_asked(write, travel):
    assert write(Money(150)) == '"1.50"'
    assert travel({"a": Money(150)}, dict[str, Money])["a"].cents == 150


def test_to_json_alone_is_enough_to_write_and_from_json_to_read(write, travel, read):
    assert write(WriteOnly("pen"), Item) == '{"name":"pen","price":"1.50"}'
    assert read('{"name":"pen"}', WriteOnly).name == "pen"
    assert travel(ReadOnly(1), ReadOnly) == ReadOnly(2)


def test_what_to_json_raises_is_the_cause(write):
    with pytest.raises(ConversionError, match=r"at \[0\]: Money.to_json raised") as caught:
        write([Money("five")])  # type: ignore[arg-type] # the mistake

    assert isinstance(caught.value.__cause__, TypeError)


def test_what_from_json_raises_is_the_cause(read):
    with pytest.raises(ConversionError, match=r"at \[0\]: Money.from_json raised") as caught:
        read('["abc"]', list[Money])

    assert isinstance(caught.value.__cause__, ValueError)


def test_another_class_is_refused(write, read):
    for declared in (Item, Money):
        with pytest.raises(ConversionError, match=f"expected {declared.__name__}, got"):
            write("pen", declared)
    with pytest.raises(ConversionError, match="expected Item, got list"):
        read("[]", Item)


def test_an_abstract_class_writes_what_it_is_given_but_cannot_be_read(write, read):
    assert write(Square(2), Shape) == '{"side":2.0}'
    assert write(Item("pen"), HasName) == write(Item("pen"))
    for declared in (Shape, HasName):
        with pytest.raises(ConversionError, match="abstract"):
            read("{}", declared)


def test_a_property_that_raises_is_named(write):
    with pytest.raises(ConversionError, match="name: it raised RuntimeError"):
        write(Broken())


def _generator():
    yield 1


async def _coroutine() -> None: ...


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (len, "builtin_function_or_method has no JSON form"),
        (lambda: 1, "function has no JSON form"),
        (threading.Lock(), "lock has no JSON form"),
        (threading.Event(), "Event has no JSON form"),
        (_generator(), "generator has no JSON form; make it a list first"),
        (map(str, []), "map has no JSON form"),
        (StringIO(), "StringIO has no JSON form"),
        (object(), "object has no JSON form"),
        (Item, "type has no JSON form"),
        (pytest, "module has no JSON form"),
        (ValueError("a"), "ValueError has no JSON form"),
        (UserError("a"), "UserError has no JSON form"),
        (memoryview(b"a"), "memoryview has no JSON form"),
        ({}.values(), "dict_values has no JSON form"),
    ],
)
def test_what_json_cannot_carry_is_refused_with_its_path(write, value, words):
    with pytest.raises(ConversionError, match=words) as caught:
        write({"a": [0, value]})

    assert caught.value.path == "['a'][1]"


def test_a_coroutine_is_refused_with_the_advice_to_await_it(write):
    coroutine = _coroutine()

    with pytest.raises(ConversionError, match="coroutine has no JSON form; await it first"):
        write(coroutine)
    coroutine.close()


@pytest.mark.parametrize("declared", [Callable[[], int], type[Item], threading.Lock])
def test_a_type_without_a_json_form_is_refused(read, declared):
    with pytest.raises(ConversionError, match="has no JSON form"):
        read("1", declared)


@pytest.mark.parametrize("declared", [5, 2.5, "int", (int, str)])
def test_what_is_no_type_at_all_is_told_so(read, declared):
    with pytest.raises(ConversionError, match="is no type; give a class, such as int"):
        read("1", declared)
