"""Unpacks the body of an answer, and says whether the packing came to its end.

aiohttp does not say: a gzip body that was cut short, with a length that agrees, passes there as whole.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

PACKINGS = "gzip, deflate"
"""How an answer's body may be packed."""
_NOT_ASKED_FOR = frozenset({"br", "compress", "dcb", "dcz", "zstd"})
_GZIP = zlib.MAX_WBITS | 16
_ZLIB, _BARE = zlib.MAX_WBITS, -zlib.MAX_WBITS


class NotUnpacked(Exception):
    """The message says why, as the end of "…, but its body …"."""


@dataclass(frozen=True, slots=True)
class Unpacked:
    """``whole``: the packing came to its end. Of more than the limit, one byte more than that is here."""

    raw: bytes
    whole: bool


def unpacked(packed: bytes, packing: str, limit: int) -> Unpacked:
    """What ``packed`` holds, if ``packing`` (a ``Content-Encoding``) is one that exists. Raises ``NotUnpacked``."""
    match packing.strip().lower():
        case "gzip" | "x-gzip":
            return _members(packed, _GZIP, limit)
        case "deflate":
            bare = packed[0] & 0xF != zlib.DEFLATED  # which it should not be, and often is
            return _members(packed, _BARE if bare else _ZLIB, limit)
        case other if other in _NOT_ASKED_FOR or "," in other:
            raise NotUnpacked(f"is packed as {other[:40]}, which was not asked for")
        case _:
            return Unpacked(packed, whole=True)


def _members(packed: bytes, wbits: int, limit: int) -> Unpacked:
    """A gzip body may be several, one after the other (RFC 1952, 2.2)."""
    found = b""
    try:
        while True:
            unpacker = zlib.decompressobj(wbits)
            found += unpacker.decompress(packed, limit + 1 - len(found))
            if len(found) > limit or not unpacker.eof:
                return Unpacked(found, whole=False)
            packed = unpacker.unused_data if wbits == _GZIP else b""
            if not packed.strip(b"\0"):
                return Unpacked(found, whole=True)
    except zlib.error:
        raise NotUnpacked("cannot be unpacked") from None
