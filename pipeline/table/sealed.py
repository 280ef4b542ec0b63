"""JSON files that end with a checksum of their own text, so that a change from outside is seen.

The last key of the object is `checksum`: sha256, hex, of the text without this key.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

_MARK = b',\n "checksum": "'
_END = b'"\n}'
KEY = "checksum"


def seal(values: Mapping[str, Any]) -> bytes:
    """A JSON object with its checksum. `values` may not be empty or have the key `checksum`."""
    assert values
    assert KEY not in values
    text = json.dumps(dict(values), indent=1).encode()
    sum_ = hashlib.sha256(text).hexdigest().encode()
    return text.removesuffix(b"\n}") + _MARK + sum_ + _END


def unseal(data: bytes, *, strict: bool = True) -> dict[str, Any]:
    """The values that `seal` wrote. ValueError for a text that was cut or, if `strict`, changed.

    A JSON object without a checksum at its end is accepted: earlier versions wrote none.
    """
    text, mark, rest = data.rpartition(_MARK)
    if mark and strict:
        sum_ = hashlib.sha256(text + b"\n}").hexdigest().encode()
        if rest != sum_ + _END:
            raise ValueError("the checksum does not fit the text")
    values = json.loads(data)
    if not isinstance(values, dict):
        raise ValueError("not a JSON object")
    values.pop(KEY, None)
    return values
