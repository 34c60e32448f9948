"""gzip in both directions, a piece at a time, and never more than is allowed."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Final

GZIP_MAGIC: Final = b"\x1f\x8b"

_GZIP: Final = 16 + zlib.MAX_WBITS
_LEVEL: Final = 1  # JSON shrinks well at any level, and the network is seldom slower than this
_PIECE_BYTES: Final = 1024 * 1024


class TooLargeError(Exception):
    """There is more than is allowed."""


class DamagedError(Exception):
    """It is not what was stored: no gzip, too short, or something else."""


def compress(content: bytes) -> bytes:
    """Compress; the same content always gives the same bytes."""
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
    return packer.compress(content) + packer.flush()


def restore(pieces: Iterable[bytes], *, most_bytes: int, is_gzip: bool) -> bytes:
    """Put content together as it comes in, and decompress it.

    Args:
        most_bytes: How much the result may be.
        is_gzip: Whether it was said to be compressed; if not, its first bytes tell.

    Raises:
        TooLargeError: it is more than that; no more is kept.
        DamagedError: it cannot be decompressed.
    """
    content = bytearray()
    unpacker = None
    first = True
    for piece in pieces:
        if first and piece:
            first = False
            if is_gzip or piece.startswith(GZIP_MAGIC):
                unpacker = zlib.decompressobj(_GZIP)
        if unpacker is None:
            content += piece
        else:
            _inflate(unpacker, piece, content, most_bytes)
        if len(content) > most_bytes:
            raise TooLargeError
    if unpacker is not None and not unpacker.eof:
        raise DamagedError("it ends too early")
    return bytes(content)


def _inflate(unpacker: zlib._Decompress, piece: bytes, content: bytearray, most_bytes: int) -> None:
    try:
        while piece and not unpacker.eof and len(content) <= most_bytes:
            content += unpacker.decompress(piece, _PIECE_BYTES)
            piece = unpacker.unconsumed_tail
    except zlib.error as error:
        raise DamagedError(str(error)) from error
