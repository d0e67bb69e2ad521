"""JSON as text, in one line and without NaN: what is sent, recorded, or handed to another process."""

from __future__ import annotations

import json
from collections.abc import Callable
from json import encoder
from typing import Any, cast

Json = Any


def _writer(quoted: Callable[[str], str]) -> Callable[[Json], str]:
    """What writes values, with texts as ``quoted`` writes them.

    ``JSONEncoder.encode`` sets up the library's own encoder anew for each value, which takes longer than most values do. It is
    set up once here, and as it does not look for values that hold themselves, those end as nested too deeply.
    """
    default = json.JSONEncoder().default
    make = cast("Any", encoder).c_make_encoder
    chunks: Callable[[Json, int], tuple[str, ...]] = make(None, default, quoted, None, ":", ",", False, False, False)

    def write(value: Json) -> str:
        return "".join(chunks(value, 0))

    return write


to_ascii = _writer(encoder.encode_basestring_ascii)
"""With every character beyond ASCII escaped. Raises ``TypeError``, ``ValueError`` or ``RecursionError`` for what is no JSON."""
to_unicode = _writer(encoder.encode_basestring)
"""With characters as they are; raises as ``to_ascii``. Halves of surrogate pairs are left for who encodes it to find."""
