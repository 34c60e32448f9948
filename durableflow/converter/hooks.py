"""Which conversion a type gets: the one a user registered with cattrs, else the one of its kind.

cattrs is asked for every type at every depth, so a hook registered in ``configure_converter``
holds inside lists, fields and unions too.  Where no user registered anything, cattrs comes back to
the functions of this module, and the first kind in ``KINDS`` that claims the type converts it.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any

import cattrs

from durableflow.converter import choices, containers, objects, plain, scalars, unions
from durableflow.converter.annotations import is_union, name_of, unwrapped
from durableflow.converter.containers import to_records
from durableflow.converter.kind import JSON_CLASSES, Decode, Encode, Hooks, Kind, always
from durableflow.converter.mismatch import MismatchError, from_hook


class UserHooks(cattrs.Converter):
    """A cattrs converter whose hooks for unions come before everything else, as all hooks do."""

    def register_structure_hook(self, cl: Any, func: Any = None) -> Any:
        """Register a hook for a type; see cattrs."""
        if func is not None and is_union(cl):
            return self.register_structure_hook_func(lambda declared: declared == cl, func)
        return super().register_structure_hook(cl, func)


class TypeHooks:
    """The conversions of one app, built when a type is first met and kept.

    May be used on several threads at once: at worst one conversion is built twice.
    """

    def __init__(self, user_hooks: cattrs.Converter) -> None:
        self._user_hooks = user_hooks
        self._encoders: dict[Any, Encode] = {}
        self._decoders: dict[Any, Decode] = {}
        self._own_encoders: dict[Any, Encode] = {}
        self._own_decoders: dict[Any, Decode] = {}
        self._register()

    def _register(self) -> None:
        def unstructure(value: Any) -> Any:
            return self._own_encoder(value.__class__)(value)

        def structure(value: Any, declared: Any) -> Any:
            return self._own_decoder(declared)(value)

        self._unstructure, self._structure = unstructure, structure
        user_hooks = self._user_hooks
        user_hooks.register_unstructure_hook_factory(lambda declared: True, self._own_encoder)
        user_hooks.register_structure_hook_func(lambda declared: True, structure)
        # cattrs registers these by class, and what is registered by class comes first.
        for cls in (str, bytes, int, float, Path, Enum):
            user_hooks.register_unstructure_hook(cls, unstructure)
            user_hooks.register_structure_hook(cls, structure)

    def encoder(self, declared: Any) -> Encode:
        """Return what turns values of a type into plain JSON."""
        encode = self._encoders.get(declared)
        if encode is None:
            hook = self._user_hooks.get_unstructure_hook(declared)
            own = self._is_own_encoder(hook, declared)
            encode = self._own_encoder(declared) if own else _guarded(hook, declared)
            self._encoders[declared] = encode
        return encode

    def decoder(self, declared: Any) -> Decode:
        """Return what turns plain JSON into values of a type."""
        decode = self._decoders.get(declared)
        if decode is None:
            hook = self._user_hooks.get_structure_hook(declared)
            if hook is self._structure:
                decode = self._own_decoder(declared)
            else:
                decode = _guarded(lambda value: hook(value, declared), declared)
            self._decoders[declared] = decode
        return decode

    def writes(self, declared: Any) -> frozenset[type]:
        """Return the classes of JSON values that a type may become."""
        if self._is_own(declared):
            return _kind_of(declared).writes(declared, self)
        return JSON_CLASSES

    def is_native(self, declared: Any) -> bool:
        """Whether values of exactly this class are their own JSON, in both directions."""
        return declared in scalars.NATIVE and self._is_own(declared)

    def _is_own(self, declared: Any) -> bool:
        hook = self._user_hooks.get_unstructure_hook(declared)
        return (
            self._is_own_encoder(hook, declared)
            and self._user_hooks.get_structure_hook(declared) is self._structure
        )

    def _is_own_encoder(self, hook: Any, declared: Any) -> bool:
        return hook is self._unstructure or hook is self._own_encoders.get(declared)

    def _own_encoder(self, declared: Any) -> Encode:
        encode = self._own_encoders.get(declared)
        if encode is None:
            encode = _kind_of(declared).encoder(declared, self)
            encode = self._own_encoders.setdefault(declared, encode)
        return encode

    def _own_decoder(self, declared: Any) -> Decode:
        decode = self._own_decoders.get(declared)
        if decode is None:
            decode = _kind_of(declared).decoder(declared, self)
            self._own_decoders[declared] = decode
        return decode


def _guarded(hook: Callable[[Any], Any], declared: Any) -> Callable[[Any], Any]:
    def call(value: Any) -> Any:
        try:
            return hook(value)
        except MismatchError:
            raise
        except Exception as error:  # a user's hook may raise anything; the caller learns where
            raise from_hook(error, f"the hook for {name_of(declared)}") from error

    return call


def _kind_of(declared: Any) -> Kind:
    return next(kind for kind in KINDS if kind.claims(declared))


# Types that say nothing: by the class of the value on the way out, Records on the way in.


def _encode_anything(declared: Any, hooks: Hooks) -> Encode:
    encoder = hooks.encoder

    def encode(value: Any) -> Any:
        cls = value.__class__
        return encoder(cls)(value) if cls is not object else _refuse(cls, hooks)

    return encode


ANYTHING = Kind(
    claims=lambda declared: declared is Any or declared is object,
    encoder=_encode_anything,
    decoder=lambda declared, hooks: to_records,
    writes=always(*JSON_CLASSES),
)


# Layers around types: looked up when first used, since an alias may contain itself.


def _encode_inner(declared: Any, hooks: Hooks) -> Encode:
    inner = unwrapped(declared)
    return lambda value: hooks.encoder(inner)(value)


def _decode_inner(declared: Any, hooks: Hooks) -> Decode:
    inner = unwrapped(declared)
    return lambda value: hooks.decoder(inner)(value)


LAYER = Kind(
    claims=lambda declared: unwrapped(declared) is not declared,
    encoder=_encode_inner,
    decoder=_decode_inner,
    writes=lambda declared, hooks: hooks.writes(unwrapped(declared)),
)


# Types without any JSON form.

_ADVICE = {
    "generator": "make it a list first",
    "async_generator": "collect it in a list first",
    "coroutine": "await it first",
    "Task": "yield or await it first, and pass its result",
}
_USUAL_ADVICE = "pass plain data, or teach the converter this type with configure_converter"


def _refuse(declared: Any, hooks: Hooks) -> Any:
    if isinstance(declared, str | int | float | tuple):
        raise MismatchError(f"{declared!r} is no type; give a class, such as int or list[str]")
    classes = getattr(declared, "__mro__", ())
    advice = (_ADVICE[cls.__name__] for cls in classes if cls.__name__ in _ADVICE)
    raise MismatchError(f"{name_of(declared)} has no JSON form; {next(advice, _USUAL_ADVICE)}")


REFUSED = Kind(
    claims=lambda declared: True,
    encoder=_refuse,
    decoder=_refuse,
    writes=always(*JSON_CLASSES),
)

KINDS: tuple[Kind, ...] = (
    ANYTHING,
    LAYER,
    unions.UNION,
    choices.LITERAL,
    choices.ENUM,
    scalars.SCALAR,
    plain.SELF_CONVERTING,
    objects.OBJECT,
    containers.TUPLE,
    containers.MAPPING,
    containers.SET,
    containers.ARRAY,
    plain.PLAIN_OBJECT,
    REFUSED,
)
