"""The public data that `winnow-toxicity` is fitted on, from files in one folder.

None of it is part of the project, and none of it is a yardstick of docs/quality.md.
"""

import csv
import hashlib
import html
import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.words.errors import InputError
from train.toxicity.written import spans, written

FILES = {
    "coco.json": "COCO 2017 val captions, CC BY 4.0 (captions_val2017.json)",
    "tweets.csv": "Davidson et al. 2017, MIT (t-davidson/hate-speech-and-offensive-language)",
    "civil.csv": "Civil Comments in toxic_spans, CC0 (ipavlopoulos/toxic_spans, data/comments.csv)",
    "civil_more.csv": "the same, SemEval2021/data/tsd_train.csv and tsd_test.csv joined",
    "wiki.csv": "Jigsaw's Wikipedia comments, CC0, texts CC BY-SA: text, toxic; no head line",
    "wiki_six.csv": "the same with all six labels: comment_text, toxic, … identity_hate",
    "madlibs.csv": "bias_madlibs_77k, Apache-2.0 (conversationai/unintended-ml-bias-analysis)",
}
SIX = ("toxic", "severe_toxic", "obscene", "threat", "insult", "identity_hate")
MOST = {("tweets", 1): 8000, ("madlibs", 1): 5000, ("madlibs", 0): 5000}
"""Most examples of a source and label, so that no source outweighs the others."""
JOINED = 6000
"""Captions that are joined with toxic texts, and as many with harmless ones."""
WRITTEN, SPANS = 6000, 8000
"""Harmless captions as short as titles: written for this, and cut out of the harmless texts."""


@dataclass(frozen=True)
class Example:
    """A text, whether it is toxic, and its six labels where somebody gave them."""

    source: str
    text: str
    toxic: int
    six: tuple[int, ...] | None = None

    @property
    def held_out(self) -> bool:
        """Whether it is for choosing and measuring; one in five, by its text."""
        digest = hashlib.sha256(self.text.lower().encode()).hexdigest()
        return int(digest[:8], 16) % 5 == 0


def read_examples(folder: Path) -> list[Example]:
    """All examples, each text once. InputError if a file is missing."""
    for name, what in FILES.items():
        if not (folder / name).is_file():
            raise InputError(f"--data: {folder / name} is missing: {what}")
    examples, seen = [], set()
    for example in _all(folder):
        key = example.text.lower().strip()
        if key and key not in seen:
            seen.add(key)
            examples.append(example)
    return examples


def for_training(examples: list[Example], seed: int) -> list[Example]:
    """The examples that are not held out, at most MOST of a kind, and joined and short ones."""
    chance = random.Random(seed)
    chosen: list[Example] = []
    counts: dict[tuple[str, int], int] = {}
    shuffled = [example for example in examples if not example.held_out]
    chance.shuffle(shuffled)
    for example in shuffled:
        kind = (example.source, example.toxic)
        counts[kind] = counts.get(kind, 0) + 1
        if counts[kind] <= MOST.get(kind, len(examples)):
            chosen.append(example)
    harmless = [example.text for example in chosen if not example.toxic]
    short = [*written(WRITTEN, seed), *spans(harmless, SPANS, seed)]
    return [
        *chosen,
        *joined(chosen, JOINED, seed),
        *(Example("short", text, 0, (0,) * 6) for text in short),
    ]


def joined(examples: list[Example], count: int, seed: int) -> list[Example]:
    """Captions with a short text before or behind: `count` toxic ones and `count` harmless ones.

    Without them a model learns that whatever begins like a caption is harmless.
    """
    chance = random.Random(seed)
    captions = [example.text for example in examples if example.source == "coco"]
    short = [e for e in examples if e.source != "coco" and len(e.text.split()) <= 25]
    made = []
    for toxic in (1, 0):
        for other in chance.choices([e for e in short if e.toxic == toxic], k=count):
            pair = [other.text, chance.choice(captions)]
            chance.shuffle(pair)
            text = chance.choice((": ", ", ", " - ", ". ", " ")).join(pair)
            made.append(Example("joined", text, toxic, other.six))
    return made


def _all(folder: Path) -> Iterator[Example]:
    for caption in json.loads((folder / "coco.json").read_text("utf-8"))["annotations"]:
        yield Example("coco", caption["caption"].strip(), 0, (0,) * 6)
    for row in _rows(folder / "wiki_six.csv"):
        if all(row.get(name) in ("0", "1") for name in SIX):  # some rows are cut off
            six = tuple(int(row[name]) for name in SIX)
            yield Example("wiki", row["comment_text"], int(any(six)), six)
    with (folder / "wiki.csv").open(encoding="utf-8", newline="") as lines:
        for text, toxic in csv.reader(lines):
            yield Example("wiki", text, int(toxic))
    for row in _rows(folder / "tweets.csv"):
        text = re.sub(r"@\w+|https?://\S+|\bRT\b", "", html.unescape(row["tweet"])).strip(' !:"')
        yield Example("tweets", text, int(row["class"] != "2"))
    for row in _rows(folder / "civil.csv"):
        yield Example("civil", row["comment_text"], 1)
    for row in _rows(folder / "civil_more.csv"):
        yield Example("civil", row["text"], 1)
    for row in _rows(folder / "madlibs.csv"):
        bad = row["Label"] == "BAD"
        yield Example("madlibs", row["Text"], int(bad), None if bad else (0,) * 6)


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as lines:
        yield from csv.DictReader(lines)
