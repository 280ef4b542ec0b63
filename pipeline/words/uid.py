"""The identifier of a row."""

import hashlib


def make_uid(url: str | None, caption: str | None) -> str:
    """First 32 hex digits of sha256(url, NUL, caption), UTF-8; a null counts as empty."""
    text = f"{url or ''}\0{caption or ''}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
