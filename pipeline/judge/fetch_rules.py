"""The rules that follow from a job's `download:` section."""

from collections.abc import Mapping

from pipeline.config.download import FORMATS
from pipeline.config.job import Job, Rule
from pipeline.table.stored import STORED

FACTS = (
    "robots_txt", "robots_tag", "tdm_reservation", "optout_metadata", "bytes", "format",
    "original_width", "original_height", "original_pixels", "sha256", "md5", STORED,
)  # fmt: skip
"""Columns that `fetch_rules` read, in addition to those of the given hashes."""


def fetch_rules(job: Job, expected: Mapping[str, str], *, stored: bool = False) -> tuple[Rule, ...]:
    """Rules of the `download:` section over stored pictures; they come before the job's rules.

    `expected` are the columns of the list that hold hashes, by kind (sha256, md5); they are those
    of what the web gave, so where files of the list hold pictures (`stored`), these are exempt.
    """
    config = job.download
    longer, shorter = (f"{name}(original_width, original_height)" for name in ("greatest", "least"))
    rules = {
        "opted_out_robots_txt": "robots_txt = 'forbidden'" if config.respect_robots_txt else "",
        "opted_out_robots_tag": "robots_tag is not null" if config.respect_robots_tag else "",
        "opted_out_tdm": "tdm_reservation" if config.respect_tdm_reservation else "",
        "opted_out_metadata": "optout_metadata is not null" if config.respect_metadata else "",
        "too_large": f"bytes > {config.max_bytes}",
        "not_an_image": _unwanted(config.formats),
        "image_too_small": f"{shorter} < {config.min_image_size}",
        "image_too_large": f"{longer} > {config.max_image_side}",
        "image_too_many_pixels": f"original_pixels > {config.max_image_pixels}",
        "image_aspect_ratio": f"{longer} > {config.max_aspect_ratio!r} * {shorter}",
        "hash_mismatch": " or ".join(_differs(kind, name) for kind, name in expected.items()),
    }
    if stored and rules["hash_mismatch"]:
        rules["hash_mismatch"] = f"{STORED} is null and ({rules['hash_mismatch']})"
    # Not validated, because the rules of a job may not give these reasons.
    return tuple(
        Rule.model_construct(reason=reason, when=when, if_null="keep")
        for reason, when in rules.items()
        if when
    )


def _unwanted(formats: tuple[str, ...]) -> str:
    """The condition for formats that are always decoded but that this job does not accept."""
    left_out = [name for name in FORMATS if name not in formats]
    return f"format in ({', '.join(repr(name) for name in left_out)})" if left_out else ""


def _differs(kind: str, column: str) -> str:
    """Whether the bytes' hash is not the one that the list gives, where it gives one."""
    name = '"' + column.replace('"', '""') + '"'
    given = f"nullif(lower(trim({name}::varchar)), '')"
    return f"{kind} <> {given}"
