"""Lists, tuples, sets and mappings, and the abstract types that stand for them.

Sets are written sorted, so that the same set is always the same text.  Mappings keep their order,
which is part of the value that a Python program sees; keys that are no text travel as their JSON.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from inspect import isabstract
from math import isfinite
from typing import Any, get_args

from durableflow.converter import mismatch
from durableflow.converter.annotations import (
    class_of,
    is_typed_dict,
    is_union,
    name_of,
    unwrapped,
)
from durableflow.converter.kind import PLAIN, Decode, Encode, Hooks, Kind, always
from durableflow.converter.mismatch import MismatchError, unexpected
from durableflow.converter.record import Record

_LISTS = frozenset({list, tuple})


def to_records(value: Any) -> Any:
    """Give plain JSON the form it has where no type is declared."""
    if value.__class__ is dict:
        return Record({name: to_records(inner) for name, inner in value.items()})
    if value.__class__ is list:
        return [to_records(inner) for inner in value]
    if value.__class__ is float and not isfinite(value):
        raise MismatchError("a number is too large for a float")
    return value


def each(convert: Callable[[Any], Any], values: Iterable[Any]) -> list[Any]:
    """Convert the elements of an array, noting which of them does not fit."""
    converted: list[Any] = []
    add = converted.append
    try:
        for value in values:
            add(convert(value))
    except MismatchError as error:
        error.within(mismatch.index(len(converted)))
        raise
    return converted


def _subclass(declared: Any, *bases: type) -> bool:
    cls = class_of(declared)
    return isinstance(cls, type) and issubclass(cls, bases)


def _element(declared: Any) -> Any:
    arguments = get_args(declared)
    return arguments[0] if arguments else Any


def _maker(declared: Any, usual: type, *others: type) -> Callable[[Any], Any]:
    """Return the class to build: the declared one, or the usual one for an abstract type."""
    cls = class_of(declared)
    if issubclass(cls, (usual, *others)):
        return cls  # type: ignore[no-any-return] # issubclass leaves it Any
    if isabstract(cls):
        return usual
    raise MismatchError(f"{name_of(declared)} cannot be made from JSON; declare {usual.__name__}")


def _plain_classes(declared: Any, hooks: Hooks) -> frozenset[type]:
    """Return the classes of which a type's values need no conversion when they are written."""
    if declared is Any:
        return PLAIN
    return frozenset({declared} if hooks.is_native(declared) else ())


def _elements_encoder(element: Any, hooks: Hooks) -> Callable[[Collection[Any]], list[Any]]:
    encode_element = hooks.encoder(element)
    plain = _plain_classes(element, hooks)

    def encode(values: Collection[Any]) -> list[Any]:
        if plain.issuperset(map(type, values)):
            return list(values)
        return each(encode_element, values)

    return encode


def _array_decoder(declared: Any, make: Callable[[Any], Any], hooks: Hooks) -> Decode:
    name, element = name_of(declared), _element(declared)
    decode_element = hooks.decoder(element)
    plain = frozenset({element} if hooks.is_native(element) else ())

    def elements(values: list[Any]) -> list[Any]:
        if plain.issuperset(map(type, values)):
            return values
        return each(decode_element, values)

    def decode(value: Any) -> Any:
        if value.__class__ is not list:
            raise unexpected(name, value)
        return elements(value) if make is list else make(elements(value))

    return decode


# Arrays


def _is_array(declared: Any) -> bool:
    cls = class_of(declared)
    return cls in (Iterable, Collection) or (
        _subclass(declared, Sequence) and not issubclass(cls, memoryview)
    )


def _array_encoder(declared: Any, hooks: Hooks) -> Encode:
    name = name_of(declared)
    encode_elements = _elements_encoder(_element(declared), hooks)
    accepted = Sequence if issubclass(class_of(declared), Sequence) else Collection

    def encode(value: Any) -> Any:
        if value.__class__ not in _LISTS:
            if not isinstance(value, accepted) or isinstance(value, str | bytes | Mapping):
                raise unexpected(name, value)
            if isinstance(value, Set):
                return _in_order(encode_elements(value))
        return encode_elements(value)

    return encode


ARRAY = Kind(
    claims=_is_array,
    encoder=_array_encoder,
    decoder=lambda declared, hooks: _array_decoder(declared, _maker(declared, list, deque), hooks),
    writes=always(list),
)


# Sets


def _in_order(elements: list[Any]) -> list[Any]:
    """Sort the JSON of a set's elements: text by text, numbers by number, the rest as text."""
    classes = set(map(type, elements))
    if classes == {str} or classes <= {int, float}:
        return sorted(elements)
    return sorted(elements, key=json.dumps)


def _set_encoder(declared: Any, hooks: Hooks) -> Encode:
    name = name_of(declared)
    encode_elements = _elements_encoder(_element(declared), hooks)

    def encode(value: Any) -> Any:
        if not isinstance(value, Set):
            raise unexpected(name, value)
        return _in_order(encode_elements(value))

    return encode


def _set_decoder(declared: Any, hooks: Hooks) -> Decode:
    name, make = name_of(declared), _maker(declared, set, frozenset)

    def make_set(elements: list[Any]) -> Any:
        try:
            return make(elements)
        except TypeError:
            raise MismatchError(f"the elements of this {name} cannot be in a set") from None

    return _array_decoder(declared, make_set, hooks)


SET = Kind(lambda declared: _subclass(declared, Set), _set_encoder, _set_decoder, always(list))


# Tuples


def _is_fixed(declared: Any) -> bool:
    """Whether a tuple type says how many elements there are: ``tuple[()]`` has none."""
    return declared is not class_of(declared) and ... not in get_args(declared)


def _tuple_encoder(declared: Any, hooks: Hooks) -> Encode:
    if not _is_fixed(declared):
        return _array_encoder(declared, hooks)
    encoders = tuple(map(hooks.encoder, get_args(declared)))
    return _fixed(declared, encoders, list | tuple, list)


def _tuple_decoder(declared: Any, hooks: Hooks) -> Decode:
    if _is_fixed(declared):
        decoders = tuple(map(hooks.decoder, get_args(declared)))
        return _fixed(declared, decoders, list, tuple)
    return _array_decoder(declared, class_of(declared), hooks)


def _fixed(
    declared: Any,
    converters: tuple[Callable[[Any], Any], ...],
    accepted: Any,
    make: Callable[[list[Any]], Any],
) -> Callable[[Any], Any]:
    name, length = name_of(declared), len(converters)

    def convert(value: Any) -> Any:
        if not isinstance(value, accepted):
            raise unexpected(name, value)
        if len(value) != length:
            raise MismatchError(f"expected {name}, got {len(value)} elements")
        pairs = zip(converters, value, strict=True)
        return make(each(lambda pair: pair[0](pair[1]), pairs))

    return convert


TUPLE = Kind(
    lambda declared: _subclass(declared, tuple), _tuple_encoder, _tuple_decoder, always(list)
)


# Mappings


def _key_and_value(declared: Any) -> tuple[Any, Any]:
    arguments = get_args(declared)
    if class_of(declared) is Counter:
        return (*arguments, int) if arguments else (str, int)
    key, value = arguments if len(arguments) == 2 else (str, Any)
    if is_union(unwrapped(key)):
        raise MismatchError(f"the keys of {name_of(declared)} cannot be told apart; use one type")
    return str if key is Any else key, value


def _mapping_encoder(declared: Any, hooks: Hooks) -> Encode:
    name = name_of(declared)
    key_type, value_type = _key_and_value(declared)
    encode_key, encode_value = _key_encoder(key_type, hooks), hooks.encoder(value_type)
    plain_keys, plain_values = (
        _plain_classes(key_type, hooks) & {str},
        _plain_classes(value_type, hooks),
    )

    def encode(value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise unexpected(name, value)
        if plain_keys.issuperset(map(type, value)) and plain_values.issuperset(
            map(type, value.values())
        ):
            return dict(value)
        encoded = _pairs(name, encode_key, encode_value, value)
        if len(encoded) != len(value):
            raise MismatchError(f"two keys of this {name} become the same text")
        return encoded

    return encode


def _pairs(
    name: str,
    convert_key: Callable[[Any], Any],
    convert_value: Callable[[Any], Any],
    value: Mapping[Any, Any],
) -> dict[Any, Any]:
    converted = {}
    for key, inner in value.items():
        try:
            new_key = convert_key(key)
        except MismatchError as error:
            raise MismatchError(f"a key of this {name}: {error.reason}") from error.__cause__
        try:
            converted[new_key] = convert_value(inner)
        except MismatchError as error:
            error.within(mismatch.key(key))
            raise
    return converted


def _key_encoder(key_type: Any, hooks: Hooks) -> Callable[[Any], str]:
    encode_key = hooks.encoder(key_type)

    def encode(key: Any) -> str:
        text = encode_key(key)
        return (
            str.__str__(text) if isinstance(text, str) else json.dumps(text, separators=(",", ":"))
        )

    return encode


def _key_decoder(key_type: Any, hooks: Hooks) -> Callable[[str], Any]:
    decode_key = hooks.decoder(key_type)
    written = hooks.writes(key_type)

    def decode(text: str) -> Any:
        try:
            return decode_key(text)
        except MismatchError:
            key = _from_json(text)
            if key is text:
                raise
        return decode_key(key)

    return decode_key if written == {str} else decode


def _from_json(text: str) -> Any:
    """Read a key that was no text before it became one; other text is returned as it is."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _mapping_decoder(declared: Any, hooks: Hooks) -> Decode:
    name = name_of(declared)
    key_type, value_type = _key_and_value(declared)
    decode_key, decode_value = _key_decoder(key_type, hooks), hooks.decoder(value_type)
    make = _mapping_maker(declared, value_type)

    def decode(value: Any) -> Any:
        if not isinstance(value, dict):
            raise unexpected(name, value)
        decoded = _pairs(name, decode_key, decode_value, value)
        return decoded if make is dict else make(decoded)

    return decode


def _mapping_maker(declared: Any, value_type: Any) -> Callable[[Any], Any]:
    if class_of(declared) is defaultdict:
        factory = class_of(value_type)
        return lambda decoded: defaultdict(factory if callable(factory) else None, decoded)
    return _maker(declared, dict)


MAPPING = Kind(
    claims=lambda declared: _subclass(declared, Mapping) and not is_typed_dict(declared),
    encoder=_mapping_encoder,
    decoder=_mapping_decoder,
    writes=always(dict),
)
