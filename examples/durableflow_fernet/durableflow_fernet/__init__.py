"""Encrypts the payloads of durableflow orchestrations: the plugin ``fernet``."""

from __future__ import annotations

from typing import Final

import attrs
from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from durableflow import PayloadField, PayloadUnavailableError, hookimpl

# Payloads are JSON, and no JSON begins with this.
MARK: Final = "fernet:"


@attrs.frozen
class FernetPayloads:
    """Encrypts every payload with the first key, and decrypts with any.

    Attributes:
        keys: As ``Fernet.generate_key`` makes them.  Workers and clients need the same ones.
    """

    keys: tuple[str, ...] = attrs.field(repr=False)
    _fernet: MultiFernet = attrs.field(init=False, repr=False, eq=False)

    @_fernet.default
    def _make(self) -> MultiFernet:
        return MultiFernet([Fernet(key) for key in self.keys])

    @hookimpl
    def register_payload_codecs(self) -> list[FernetPayloads]:
        return [self]

    def encodes(self, field: PayloadField, text: str) -> bool:
        return True

    def encode(self, field: PayloadField, text: str, *, instance_id: str) -> str:
        return MARK + self._fernet.encrypt(text.encode()).decode()

    def decodes(self, field: PayloadField, text: str) -> bool:
        return text.startswith(MARK)

    def decode(self, field: PayloadField, text: str, *, instance_id: str) -> str:
        try:
            return self._fernet.decrypt(text.removeprefix(MARK)).decode()
        except InvalidToken:
            raise PayloadUnavailableError(
                f"The {field.what} was encrypted with a key that is not among those of this process. "
                "Add it to the keys of the plugin 'fernet'."
            ) from None
