"""Regions whose numbering plans tell telephone numbers; apart from what finds them, which takes
longer to import than a command that measures nothing should wait."""

import difflib

REGIONS = (
    "US", "GB", "DE", "FR", "ES", "IT", "NL", "BE", "CH", "AT", "SE", "PL", "AU", "IN", "JP", "BR",
    "RU", "CN",
)  # fmt: skip
"""Regions whose numbers count without a country code, unless a job names others."""


def nearest_region(name: str) -> str:
    """The region of this name, in capitals, if `phonenumbers` has its plan; else the nearest."""
    from phonenumbers import SUPPORTED_REGIONS

    name = name.upper()
    name = {"UK": "GB", "EN": "GB", "EL": "GR", "USA": "US"}.get(name, name)
    if name in SUPPORTED_REGIONS:
        return name
    return difflib.get_close_matches(name, sorted(SUPPORTED_REGIONS), n=1, cutoff=0)[0]
