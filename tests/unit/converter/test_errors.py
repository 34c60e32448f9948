"""What an error says, and what it does not."""

import attrs
import pytest

from durableflow.errors import ConversionError


@attrs.frozen
class Line:
    product: str
    price: float


@attrs.frozen
class Order:
    lines: list[Line]


@attrs.frozen
class Basket:
    order: Order


def test_an_error_names_what_was_converted_where_and_why(write):
    basket = Basket(Order([Line("a", 1.0), Line("b", "2")]))  # type: ignore[arg-type] # the mistake

    with pytest.raises(ConversionError) as caught:
        write(basket, Basket)

    assert str(caught.value) == (
        "Cannot convert input of activity 'charge' (Basket) at order.lines[1].price: "
        "expected float, got str."
    )
    assert caught.value.path == "order.lines[1].price"


def test_an_error_about_the_whole_value_has_no_path(read):
    with pytest.raises(ConversionError) as caught:
        read("[]", Basket)

    assert str(caught.value) == (
        "Cannot convert input of activity 'charge': expected Basket, got list."
    )
    assert caught.value.path == ""


def test_a_long_key_is_cut_in_the_path(read):
    with pytest.raises(ConversionError) as caught:
        read('{"' + "k" * 100 + '":"x"}', dict[str, int])

    assert caught.value.path == f"['{'k' * 40}…']"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "it is no JSON .*character 1"),
        ('{"a":1} x', "it is no JSON .*character 8"),
        ("secret", "it is no JSON .*character 0"),
    ],
)
def test_text_that_is_no_json_is_refused(read, text, words):
    with pytest.raises(ConversionError, match=words):
        read(text, int)


@pytest.mark.parametrize(
    ("text", "declared"),
    [
        ('"s3cret"', int),
        ('["s3cret"]', list[float]),
        ('{"lines":[{"product":"a","price":"s3cret"}]}', Order),
        ('"s3cret"', Order | Line),
        ('{"_type":"s3cret"}', Order | Line),
        ("[s3cret", Order),
    ],
)
def test_an_error_holds_no_part_of_the_value(read, text, declared):
    with pytest.raises(ConversionError) as caught:
        read(text, declared)

    assert "s3cret" not in str(caught.value)


def test_a_type_that_cannot_be_looked_up_is_a_conversion_error(read):
    class Unhashable(type):
        __hash__ = None  # type: ignore[assignment] # what this test is for

    odd = Unhashable("odd", (), {})

    with pytest.raises(ConversionError):
        read("1", odd)
