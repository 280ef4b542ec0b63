"""Changed keys that can only turn one failure into another, as a stage reports them."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest

from pipeline.config.base import effort
from pipeline.config.job import Job
from pipeline.config.sections import MeasureConfig
from pipeline.measure.captions.captions import CaptionStage
from pipeline.measure.captions.pii import PIIStage
from pipeline.measure.download import DownloadStage
from pipeline.table.columns import Column


class PatientConfig(MeasureConfig):
    tries: int = effort(2, description="Tries a caption.")
    depth: int = 1


class PatientStage(CaptionStage):
    """A stage of another package with a key of this role."""

    name = "patient"
    rank = 5
    Config = PatientConfig

    @property
    def writes(self) -> tuple[Column, ...]:
        return (Column("patient", pa.int32(), "Always 0."),)

    def measure(self, captions: list[str]) -> dict[str, Sequence[Any]]:
        return {"patient": [0 for _ in captions]}


def job(**sections: Any) -> Job:
    return Job(input="x.csv", **sections)


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ({"measure": {"patient": {"tries": 2, "depth": 7}}}, {"tries": (2, 5)}),
        ({"measure": {"patient": {"tries": 5}}}, {}),
        ({"measure": {"patient": {}}}, {}),
        ({"measure": {"patient": None}}, {}),
        ({"measure": {}}, {}),
        ({}, {}),
    ],
)
def test_a_stage_under_measure_reports_its_changed_effort_keys(
    before: dict[str, Any], expected: dict[str, Any]
):
    stage = PatientStage(job(measure={"patient": {"tries": 5}}))
    assert stage.changed_effort(before) == expected


def test_the_download_stage_reports_the_changed_effort_keys_of_its_section():
    before = job().model_dump(mode="json")
    after = job(download={"retries": 7, "timeout": 3, "max_bytes": 5, "thread_count": 3})
    assert DownloadStage(after, {}).changed_effort(before) == {
        "timeout": (10.0, 3.0), "retries": (2, 7),
    }  # fmt: skip


def test_a_stage_without_own_keys_reports_no_changed_effort_keys():
    before = job().model_dump(mode="json")
    assert PIIStage(job(download={"retries": 7})).changed_effort(before) == {}
