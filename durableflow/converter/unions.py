"""Unions: tagged where their members could not be told apart otherwise.

A member travels *bare* if no other member becomes the same class of JSON value, or if it is one of
JSON's own types.  Other members are *tagged* with their name: an object gets the key ``_type``,
anything else becomes ``{"_type": …, "_value": …}``.  So ``int | str | None`` and ``Order | None``
are plain JSON, and ``Order | Refund`` and ``str | datetime`` carry a tag.

Reading accepts untagged values too if exactly one member fits, since other senders know no tags.
A tag chooses among the declared members and nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, get_args

import attrs

from durableflow.converter.annotations import (
    NoneType,
    class_of,
    is_class,
    is_literal,
    is_typed_dict,
    is_union,
    name_of,
    unwrapped,
)
from durableflow.converter.kind import JSON_CLASSES, Decode, Encode, Hooks, Kind, always
from durableflow.converter.mismatch import MismatchError, type_of, unexpected

TAG, VALUE = "_type", "_value"
EXACTLY, SUBCLASS, PERHAPS = range(3)


@attrs.frozen(eq=False)
class Member:
    """One type of a union.

    Attributes:
        cls: The class of its values; None if that is no help in finding them.
        tag: The name in the tag; None if it travels bare.
        writes: The classes of JSON values that it becomes, without the tag.
        native: Whether it is one of JSON's own types, so that a bare value means it first.
    """

    cls: type | None
    tag: str | None
    writes: frozenset[type]
    native: bool
    encode: Encode
    decode: Decode

    def rank(self, cls: type) -> int:
        """Say how well values of a class suit, best first."""
        if cls is self.cls:
            return EXACTLY
        return SUBCLASS if self.cls is not None and issubclass(cls, self.cls) else PERHAPS

    def encode_tagged(self, value: Any) -> Any:
        """Encode a value, with the tag if there is one."""
        encoded = self.encode(value)
        if self.tag is None:
            return encoded
        if isinstance(encoded, dict) and not {TAG, VALUE} & encoded.keys():
            return {TAG: self.tag, **encoded}
        return {TAG: self.tag, VALUE: encoded}


def _is_native(declared: Any, hooks: Hooks) -> bool:
    inner = unwrapped(declared)
    return inner is NoneType or is_literal(inner) or inner is float or hooks.is_native(inner)


def _flat(declared: Any) -> tuple[Any, ...]:
    """Return the members of a union, those of unions behind an alias among them."""
    if not is_union(declared):
        inner = unwrapped(declared)
        return _flat(inner) if inner is not declared and is_union(inner) else (declared,)
    return tuple(dict.fromkeys(one for each in get_args(declared) for one in _flat(each)))


def _needs_tag(types: tuple[Any, ...], hooks: Hooks) -> set[int]:
    """Return the positions of the members that could be mistaken for another."""
    writes = [hooks.writes(each) for each in types]
    tagged = {
        position
        for position, each in enumerate(types)
        if not _is_native(each, hooks)
        and any(
            writes[position] & others for other, others in enumerate(writes) if other != position
        )
    }
    if tagged:  # an object without a tag might look like one with it
        tagged |= {position for position, written in enumerate(writes) if dict in written}
    return tagged


def _members(declared: Any, hooks: Hooks) -> tuple[Member, ...]:
    # Literals first: what they list is theirs, also where a float would take an int.
    types = tuple(sorted(_flat(declared), key=lambda each: not is_literal(unwrapped(each))))
    tagged = _needs_tag(types, hooks)
    names = Counter(map(name_of, types))

    def tag_of(each: Any) -> str:
        name, cls = name_of(each), class_of(each)
        return name if names[name] == 1 else f"{cls.__module__}.{cls.__qualname__}"

    return tuple(
        Member(
            cls=_runtime_class(unwrapped(each)),
            tag=tag_of(each) if position in tagged else None,
            writes=hooks.writes(each),
            native=_is_native(each, hooks),
            encode=hooks.encoder(each),
            decode=hooks.decoder(each),
        )
        for position, each in enumerate(types)
    )


def _runtime_class(declared: Any) -> type | None:
    if is_typed_dict(declared):
        return dict
    cls = class_of(declared)
    return cls if is_class(declared) and not getattr(cls, "_is_protocol", False) else None


def _sole(declared: Any) -> Any:
    """Return what stands for the whole union: Any beside others, the other one beside None."""
    types = _flat(declared)
    others = [each for each in types if each is not NoneType]
    anything = [each for each in types if each in (Any, object)]
    return anything[0] if anything else others[0] if len(others) == 1 else None


# Writing


def _encoder(declared: Any, hooks: Hooks) -> Encode:
    sole = _sole(declared)
    if sole is not None:
        encode_sole = hooks.encoder(sole)
        return lambda value: None if value is None else encode_sole(value)

    name, members = name_of(declared), _members(declared, hooks)
    rankings: dict[type, list[Member]] = {}

    def encode(value: Any) -> Any:
        cls = value.__class__
        ranked = rankings.get(cls)
        if ranked is None:
            ranked = rankings[cls] = sorted(members, key=lambda member: member.rank(cls))
        best, second = ranked[0].rank(cls), ranked[1].rank(cls)
        if best == PERHAPS and isinstance(value, Mapping):
            return encode(hooks.decoder(declared)(dict(value)))
        refusals: list[MismatchError] = []
        for member in ranked:
            try:
                return member.encode_tagged(value)
            except MismatchError as error:
                refusals.append(error)
        if best < second == PERHAPS:
            raise refusals[0]  # there was one member for it, and that one says why not
        raise unexpected(name, value)

    return encode


# Reading


def _decoder(declared: Any, hooks: Hooks) -> Decode:
    sole = _sole(declared)
    if sole is not None:
        decode_sole = hooks.decoder(sole)
        return lambda value: None if value is None else decode_sole(value)

    name, members = name_of(declared), _members(declared, hooks)
    by_tag = {member.tag: member for member in members if member.tag is not None}

    def decode(value: Any) -> Any:
        if by_tag and isinstance(value, dict) and TAG in value:
            return _decode_tagged(by_tag, value)
        suitable = [member for member in members if value.__class__ in member.writes]
        if len(suitable) == 1:
            return suitable[0].decode(value)
        fits = _fitting((member for member in suitable if member.native), value)
        if not fits:
            fits = _fitting(members, value)
        if not fits:
            raise MismatchError(f"expected {name}, got {type_of(value)} that is none of them")
        if len(fits) > 1 and not fits[0][0].native:
            raise MismatchError(
                f"expected {name}, got {type_of(value)} without the tag to say which"
            )
        return fits[0][1]

    return decode


def _decode_tagged(by_tag: Mapping[str, Member], value: dict[str, Any]) -> Any:
    member = by_tag.get(value[TAG]) if isinstance(value[TAG], str) else None
    if member is None:
        raise MismatchError(f"expected {TAG} to be one of {', '.join(by_tag)}")
    if VALUE in value:
        return member.decode(value[VALUE])
    return member.decode({key: inner for key, inner in value.items() if key != TAG})


def _fitting(members: Iterable[Member], value: Any) -> list[tuple[Member, Any]]:
    fits = []
    for member in members:
        try:
            fits.append((member, member.decode(value)))
        except MismatchError:
            continue
    return fits


UNION = Kind(claims=is_union, encoder=_encoder, decoder=_decoder, writes=always(*JSON_CLASSES))
