"""``PayloadCodec``: what changes payloads on their way out, and back on their way in."""

from __future__ import annotations

from typing import Protocol

from durableflow.protocol.payload_fields import PayloadField


class PayloadCodec(Protocol):
    """Compresses, encrypts, stores elsewhere: anything that can be undone.

    Plugins bring codecs by the hook ``register_payload_codecs``.  Every payload passes through all
    of them: outward in the order of their registration, inward in the reverse order.  One codec may
    be called by several threads at once.

    ``encodes`` and ``decodes`` are called on an event loop for every payload, so they must look at
    no more than is needed to say no.  ``encode`` and ``decode`` run on threads and may block.

    Both of the latter may raise any error.  ``PayloadUnavailableError`` says that it is worth
    trying again later, ``PayloadLostError`` and ``PayloadTooLargeError`` that it never is.
    """

    def encodes(self, field: PayloadField, text: str, /) -> bool:
        """Whether a payload on its way out is to be encoded."""

    def encode(self, field: PayloadField, text: str, /, *, instance_id: str) -> str:
        """Return what to send in place of a payload.

        The result must be such that ``decodes`` knows it from every payload that was not encoded.

        Args:
            instance_id: Of the instance that it is sent for.
        """

    def decodes(self, field: PayloadField, text: str, /) -> bool:
        """Whether a payload on its way in was encoded by this codec, or one like it."""

    def decode(self, field: PayloadField, text: str, /, *, instance_id: str) -> str:
        """Return what a payload was before it was encoded.

        Args:
            instance_id: Of the instance that it comes from or goes to; "" if that is not known.
        """
