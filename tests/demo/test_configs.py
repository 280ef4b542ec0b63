from pathlib import Path

import pytest

from pipeline.config.load import load_job
from pipeline.demo.kinds import KINDS
from pipeline.words.reasons import RULES

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_jobs_are_valid(path: Path) -> None:
    job = load_job(path)
    assert job.name == path.stem
    assert job.rules


def test_demo_job_has_a_rule_for_every_planted_judgement() -> None:
    job = load_job(next(path for path in CONFIGS if path.stem == "demo"))
    planted = {kind.reason for kind in KINDS.values()} & RULES.keys()
    assert planted - {rule.reason for rule in job.rules or ()} == set()
    assert job.download.allow_addresses == ("127.0.0.1/32",)
