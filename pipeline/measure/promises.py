"""The hashes that a list promises of its pictures, and whether what was fetched has them."""

from dataclasses import replace
from typing import TYPE_CHECKING

from pipeline.config.job import Job
from pipeline.words.failure import printable

if TYPE_CHECKING:
    from pipeline.fetch.writer import Fetched


def named_columns(job: Job) -> dict[str, str | None]:
    return {"sha256": job.columns.sha256, "md5": job.columns.md5}


def verify(result: "Fetched", kind: str, expected: str | None) -> "Fetched":
    """The result, or hash_mismatch where the bytes are not those that the input promised."""
    facts = result.facts
    if facts is None or result.reason is not None or not (expected or "").strip():
        return result
    digest = str(expected).strip().lower()
    if (facts.sha256 if kind == "sha256" else facts.md5) == digest:
        return result
    made = replace(facts.made, width=None, height=None, phash=b"", phash_quality=None, thumb=b"")
    message = printable(f"{kind} {digest} was expected")
    return replace(
        result, reason="hash_mismatch", message=message, facts=replace(facts, made=made), span=None
    )
