"""What users teach the converter."""

from collections.abc import Mapping
from typing import Any, NewType

import attrs
import cattrs
import pytest
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override
from cattrs.strategies import configure_tagged_union

from durableflow.converter import Converter
from durableflow.errors import ConversionError


@attrs.frozen
class Money:
    cents: int


@attrs.frozen
class Order:
    price: Money
    extras: dict[str, Money | None] = attrs.field(factory=dict)


@attrs.frozen
class Cat:
    name: str


@attrs.frozen
class Dog:
    name: str


@attrs.frozen
class Pet:
    animal: Cat | Dog


Email = NewType("Email", str)


def teach_money(converter: cattrs.Converter) -> None:
    converter.register_unstructure_hook(Money, lambda money: f"{money.cents} ct")
    converter.register_structure_hook(Money, lambda text, _: Money(int(text.split()[0])))


def travel(converter: Converter, value: Any, declared: Any) -> tuple[str | None, Any]:
    text = converter.dumps(value, declared, where="x")
    return text, converter.loads(text, declared, where="x")


def test_a_hook_holds_at_every_depth():
    order = Order(Money(5), {"a": Money(1), "b": None})

    text, arrived = travel(Converter([teach_money]), [order], list[Order])

    assert text == '[{"price":"5 ct","extras":{"a":"1 ct","b":null}}]'
    assert arrived == [order]


def test_a_hook_holds_without_a_declared_type():
    assert Converter([teach_money]).dumps([Money(5)], where="x") == '["5 ct"]'


def test_a_union_knows_that_a_hook_may_write_anything():
    converter = Converter([teach_money])

    assert travel(converter, Money(5), Money | str)[1] == Money(5)
    assert travel(converter, "5 ct", Money | str)[1] == "5 ct"


def test_a_hook_for_a_native_type_holds_too():
    def teach(converter: cattrs.Converter) -> None:
        converter.register_unstructure_hook(str, str.upper)
        converter.register_structure_hook(str, lambda text, _: text.lower())

    converter = Converter([teach])

    assert travel(converter, "a", str) == ('"A"', "a")
    assert travel(converter, ["a"], list[str]) == ('["A"]', ["a"])
    assert travel(converter, Cat("a"), Cat) == ('{"name":"A"}', Cat("a"))


def test_a_hook_for_a_new_type_leaves_its_base_alone():
    def teach(converter: cattrs.Converter) -> None:
        converter.register_structure_hook(Email, lambda text, _: text.lower())

    converter = Converter([teach])

    assert converter.loads('["A","B"]', tuple[Email, str], where="x") == ("a", "B")


def test_a_hook_for_a_union_comes_before_the_tags():
    def teach(converter: cattrs.Converter) -> None:
        configure_tagged_union(Cat | Dog, converter, tag_name="kind")

    text, arrived = travel(Converter([teach]), Pet(Dog("Rex")), Pet)

    assert text == '{"animal":{"name":"Rex","kind":"Dog"}}'
    assert arrived == Pet(Dog("Rex"))


def test_functions_that_cattrs_generates_are_hooks_like_others():
    def teach(converter: cattrs.Converter) -> None:
        rename = {"price": override(rename="Preis")}
        converter.register_unstructure_hook(
            Order, make_dict_unstructure_fn(Order, converter, **rename)
        )
        converter.register_structure_hook(Order, make_dict_structure_fn(Order, converter, **rename))

    converter = Converter([teach])

    order = Order(Money(5), {"a": Money(1)})
    text, arrived = travel(converter, {"x": order}, dict[str, Order])
    assert text == '{"x":{"Preis":{"cents":5},"extras":{"a":{"cents":1}}}}'
    assert arrived == {"x": order}
    with pytest.raises(ConversionError) as caught:
        converter.loads(
            '{"x":{"Preis":{"cents":5},"extras":{"a":{"cents":"1"}}}}',
            dict[str, Order],
            where="x",
        )
    assert caught.value.path == "['x'].extras['a'].cents"


def test_a_factory_hook_is_asked_for_every_type():
    def teach(converter: cattrs.Converter) -> None:
        converter.register_structure_hook_factory(
            lambda declared: declared == Mapping[str, int],
            lambda declared: lambda value, _: {"made": len(value)},
        )

    assert Converter([teach]).loads('[{"a":1}]', list[Mapping[str, int]], where="x") == [
        {"made": 1}
    ]


def test_what_a_hook_raises_is_told_with_the_path_and_kept_as_cause():
    converter = Converter([teach_money])

    with pytest.raises(ConversionError, match="price: the hook for Money raised") as caught:
        converter.loads('{"price":7}', Order, where="x")

    assert isinstance(caught.value.__cause__, AttributeError)


def test_errors_of_another_cattrs_converter_keep_their_path():
    def teach(converter: cattrs.Converter) -> None:
        other = cattrs.Converter()
        converter.register_structure_hook(Order, other.structure)

    with pytest.raises(ConversionError, match="the hook for Order raised ValueError") as caught:
        Converter([teach]).loads(
            '[{"price":{"cents":1},"extras":{"a":{"cents":"x"}}}]', list[Order], where="x"
        )

    assert caught.value.path == "[0].extras['a'].cents"


def test_a_hook_may_leave_the_rest_to_the_converter():
    def teach(converter: cattrs.Converter) -> None:
        converter.register_structure_hook(
            Order, lambda value, _: Order(converter.structure(value, Money))
        )

    converter = Converter([teach])

    assert converter.loads('[{"cents":1}]', list[Order], where="x") == [Order(Money(1))]
    with pytest.raises(ConversionError, match=r"\[0\].cents: expected int, got str"):
        converter.loads('[{"cents":"1"}]', list[Order], where="x")


def test_a_hook_that_makes_no_json_is_refused():
    def teach(converter: cattrs.Converter) -> None:
        converter.register_unstructure_hook(Money, lambda money: {money})

    with pytest.raises(ConversionError, match="set is not JSON serializable"):
        Converter([teach]).dumps(Money(1), where="x")


def test_the_cattrs_converter_converts_as_payloads_are_converted():
    converter = Converter([teach_money]).cattrs

    assert converter.unstructure([Order(Money(1))]) == [{"price": "1 ct", "extras": {}}]
    assert converter.unstructure("a") == "a"
    assert converter.structure([{"price": "1 ct"}], list[Order]) == [Order(Money(1))]
