"""Which of a job's measurements judge the pictures that its model draws."""

import pytest

from pipeline.config.job import Job
from train.handover import judge_names

HEAD = {"name": "graphic", "kind": "zeroshot", "positive": ["gore"], "negative": ["a cat"]}


@pytest.mark.parametrize(
    ("rules", "judges"),
    [
        ([("nsfw", "punsafe > 0.8"), ("graphic", "graphic > 0.5")], ("graphic", "punsafe")),
        # A drawn picture has no original size; the rule's other column can still judge it.
        ([("nsfw", "punsafe > 0.8 and original_pixels > 9")], ("punsafe",)),
        ([("low_aesthetic", "graphic > 0.5")], ()),
        ([("nsfw", "clip_score < 0.1 and url <> 'punsafe'")], ()),
    ],
)
def test_judges_are_the_measurements_that_safety_rules_read(rules, judges):
    job = Job(
        input="pairs.csv",
        embed={"model": "winnow-tiny"},
        images={"heads": [HEAD]},
        rules=[{"reason": reason, "when": when} for reason, when in rules],
    )
    assert judge_names(job) == judges
