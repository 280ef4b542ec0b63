"""Helpers of tests that take rows down from a run folder."""

from pathlib import Path

from lab import Lab

from pipeline.export.registry import registered
from pipeline.inspect.query import query
from pipeline.lifecycle.forget import forget
from pipeline.table.run import Run
from pipeline.words.progress import Lines

OPTIONAL = [name for name, layout in registered().items() if not layout.always]
"""Every layout that a job can name, so that tests cover a new one without a change here."""

SETTINGS = {
    "embed": {"model": "winnow-tiny"},
    "images": {
        "nsfw": "opennsfw",
        "only_if": "caption_words > 0",
        "heads": [
            {"name": "cat", "kind": "zeroshot", "positive": ["a cat"], "negative": ["a ship"]}
        ],
    },
    "export": {"formats": OPTIONAL, "shard_size": 12},
}
SMALL = "download.image_size=48"
OTHER_RULE = "rules.0.when=dup_group is not null and true"


def folder(lab: Lab) -> Path:
    return lab.folder / "runs" / "job"


def take(lab: Lab, *named: tuple[str, str], dry_run: bool = False):
    with (lab.folder / "said.txt").open("w") as stream:
        result, answer = forget(
            Run(folder(lab)), [(*one, f"--{one[0]}") for one in named], dry_run, Lines(stream)
        )
    lab.said = (lab.folder / "said.txt").read_text().splitlines()
    return result, answer


def rows_of(lab: Lab, where: str) -> list[dict]:
    return query(Run(folder(lab)), f"select * from samples where {where} order by uid").to_pylist()


def one(lab: Lab, name: str) -> dict:
    (row,) = rows_of(lab, f"url like '%/{name}'")
    return row
