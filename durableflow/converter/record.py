"""What a JSON object becomes where no type is declared."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


class Record(dict[str, Any]):
    """A dict whose keys also answer as attributes.

    A key that is also the name of a dict method, such as ``items``, is reached as
    ``record["items"]`` only.
    """

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"This record has no '{name}'", name=name, obj=self) from None

    def __setattr__(self, name: str, value: Any) -> None:
        if hasattr(dict, name):
            raise AttributeError(
                f"'{name}' is a method of dict; write record['{name}'] = … instead"
            )
        self[name] = value

    def __delattr__(self, name: str) -> None:
        try:
            del self[name]
        except KeyError:
            raise AttributeError(f"This record has no '{name}'", name=name, obj=self) from None

    def __dir__(self) -> Iterable[str]:
        return [*super().__dir__(), *self]

    def __repr__(self) -> str:
        return f"Record({super().__repr__()})"
