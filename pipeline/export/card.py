"""The dataset card of an export: what is in it, what is not, and why."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from pipeline.config.job import Job, Rule
from pipeline.export.card_head import card_head
from pipeline.words.arithmetic import arithmetic_lines
from pipeline.words.reasons import VOCABULARY, kind_of

VERSION = 4
"""Raised when the same facts give another card, so that existing cards are written again."""


def dataset_card(
    job: Job,
    rules: Sequence[Rule],
    manifest: Mapping[str, Any],
    provenance: Mapping[str, Any],
    schema: pa.Schema | None,
) -> str:
    """Markdown with the YAML head that dataset hubs read. The same run gives the same text.

    `schema` is that of the exported tables, None if there is none.
    """
    title = job.export.title or job.name
    judged = "\n".join(
        f"| `{rule.reason}` | `{_cell(rule.when)}` | {rule.if_null} |" for rule in rules
    )
    counts = "\n".join(
        f"| `{reason}` | {kind_of(reason)} | {count:,} | {_text(reason)} |"
        for reason, count in sorted(manifest["counts"].items(), key=lambda e: (-e[1], e[0]))
        if reason != "kept"
    )
    models = "\n".join(
        f"| {name} | `{digest[:40]}` |" for name, digest in provenance["models"].items()
    )
    said = (*provenance.get("limits", ()), *arithmetic_lines(provenance))
    limits = "".join(f"- {line}\n" for line in said)
    facts = [*_blurred(manifest.get("blurred")), *manifest["notes"]]
    notes = "".join(f"- {note}.\n" for note in facts)
    head = card_head(str(title), job.export.license, manifest["rows"], schema)
    return f"""{head}
# {title}

{manifest["rows"]:,} image-text pairs in {len(manifest["shards"])} WebDataset shards, curated by
winnow {provenance["winnow"]} from a list of URLs and captions.

- Fingerprint `{manifest["fingerprint"][:12]}` (of settings and content), digest
  `{manifest["digest"][:12]}` (of the content alone).
- `00000.tar` … hold `{{key}}.jpg`, `.txt` (caption) and `.json` (all measurements);
  `00000.parquet` … the same columns; `manifest.json` the sha256 of every shard.
- Pictures: JPEG, shorter side at most {job.download.image_size} px, resized by
  `{job.download.resize_mode}`.
{notes}
```python
from datasets import load_dataset

samples = load_dataset(FOLDER, split="train")  # jpg, txt, json
# The same by the reader's name; it would guess the types from the first five rows.
samples = load_dataset(
    "webdataset", data_files=f"{{FOLDER}}/*.tar", split="train", features=samples.features
)
table = load_dataset("parquet", data_files=f"{{FOLDER}}/*.parquet", split="train")
```

## What is not in it

{manifest["counts"].get("kept", 0):,} rows were kept. The others, by the reason for which they were
dropped:

| reason | kind | rows | meaning |
| --- | --- | ---: | --- |
{counts}

## Rules

They are applied in this order; a row's reason is that of the first rule that is true.

| reason | when | if unknown |
| --- | --- | --- |
{judged}

## Models that judged

| model | content |
| --- | --- |
{models or "| none | |"}

## Known limits

- The measurements are estimates by models with known biases: a safety classifier misses some unsafe
  pictures and drops some harmless ones, more often of some groups of people than of others.
- Language and toxicity are judged on the caption alone; short captions are judged badly.
{limits}- Repeats are found within the thresholds above; a strong crop, watermark or edit can pass.
- The pictures belong to their makers; the URLs may have changed since they were fetched.
"""


def _blurred(facts: Mapping[str, Any] | None) -> list[str]:
    """What was blurred, and what still describes the pictures as they were before."""
    if facts is None:
        return []
    return [
        f"Faces are blurred in {facts['pictures']:,} pictures ({facts['faces']:,} boxes of "
        f"`{facts['boxes']}` with a score of {facts['score']} or more; `faces_blurred` has the "
        "number in each). Faces that the detector did not find are not blurred. Hashes, vectors "
        "and scores were measured on the pictures before",
    ]


def _text(reason: str) -> str:
    return VOCABULARY[reason].text if reason in VOCABULARY else "A reason of this job's own."


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
