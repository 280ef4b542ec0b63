"""Personal data in the caption: e-mail addresses, and numbers of telephones, cards and accounts."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from pipeline.config.job import Job, Rule
from pipeline.measure.captions.captions import CaptionStage
from pipeline.table.columns import Column
from pipeline.words.errors import InputError
from pipeline.words.personal.regions import REGIONS, nearest_region

_FOUND = {
    "email": "E-mail addresses found.",
    "phone": "Telephone numbers found.",
    "card": "Numbers of payment cards found.",
    "iban": "Numbers of bank accounts (IBAN) found.",
}


class PIIStage(CaptionStage):
    """Counts of personal data."""

    name = "pii"
    rank = 1
    step = "Caption rules"
    version = 2
    packages = ("phonenumbers", "validators")

    @classmethod
    def of(cls, job: Job, schema: Mapping[str, pa.DataType]) -> "PIIStage | None":
        return cls(job)

    def default_rules(self) -> tuple[Rule, ...]:
        """Any personal data."""
        return (Rule(reason="pii", when=" or ".join(f"pii_{kind} > 0" for kind in _FOUND)),)

    @property
    def writes(self) -> tuple[Column, ...]:
        return tuple(Column(f"pii_{kind}", pa.int32(), text) for kind, text in _FOUND.items())

    @property
    def _regions(self) -> tuple[str, ...]:
        """The job's regions, in the order in which they are tried."""
        return tuple(dict.fromkeys(region.upper() for region in self.job.captions.phone_regions))

    def settings(self) -> dict[str, Any]:
        settings = super().settings()
        if self._regions != REGIONS:
            settings["phone_regions"] = list(self._regions)
        return settings

    def check(self) -> None:
        if self._regions == REGIONS:
            return
        for region in self._regions:
            if (near := nearest_region(region)) != region:
                raise InputError(
                    f"captions.phone_regions: `{region}` is no region of phonenumbers "
                    f"(two letters of ISO 3166-1); did you mean `{near}`?"
                )

    def measure(self, captions: list[str]) -> dict[str, Sequence[Any]]:
        from pipeline.words.personal.find import count_personal

        found = [count_personal(caption, self._regions) for caption in captions]
        return {f"pii_{kind}": [counts[kind] for counts in found] for kind in _FOUND}
