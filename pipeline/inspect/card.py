"""The dataset card beside an export: what is in it, what is not, and why."""

import json
from collections.abc import Mapping
from typing import Any

from pipeline.plan import Plan
from pipeline.reasons import VOCABULARY, kind_of


def dataset_card(plan: Plan, manifest: Mapping[str, Any], provenance: Mapping[str, Any]) -> str:
    """Markdown with the YAML head that dataset hubs read. The same run gives the same text."""
    job = plan.job
    title = job.export.title or job.name
    rules = "\n".join(
        f"| `{rule.reason}` | `{_cell(rule.when)}` | {rule.if_null} |" for rule in job.rules or ()
    )
    counts = "\n".join(
        f"| `{reason}` | {kind_of(reason)} | {count:,} | {_text(reason)} |"
        for reason, count in sorted(manifest["counts"].items(), key=lambda e: (-e[1], e[0]))
        if reason != "kept"
    )
    models = "\n".join(
        f"| {name} | `{digest[:40]}` |" for name, digest in provenance["models"].items()
    )
    notes = "".join(f"- {note}.\n" for note in manifest["notes"])
    license_line = f"license: {json.dumps(job.export.license)}\n" if job.export.license else ""
    return f"""---
pretty_name: {json.dumps(title, ensure_ascii=False)}
{license_line}task_categories:
- text-to-image
- image-to-text
size_categories:
- {_size(manifest["rows"])}
---

# {title}

{manifest["rows"]:,} image-text pairs in {len(manifest["shards"])} WebDataset shards, curated by
winnow {provenance["winnow"]} from a list of URLs and captions.

- Fingerprint `{manifest["fingerprint"][:12]}` (what was done), digest `{manifest["digest"][:12]}`
  (what came out).
- `00000.tar` … hold `{{key}}.jpg`, `.txt` (caption) and `.json` (all measurements);
  `00000.parquet` … the same columns; `manifest.json` the sha256 of every shard.
- Pictures: JPEG, shorter side at most {job.download.image_size} px, resized by
  `{job.download.resize_mode}`.
{notes}
## What is not in it

{manifest["counts"].get("kept", 0):,} rows were kept. The others, by the first reason that took
them:

| reason | kind | rows | meaning |
| --- | --- | ---: | --- |
{counts}

## Rules

In order; a row goes with the first that is true.

| reason | when | if unknown |
| --- | --- | --- |
{rules}

## Models that judged

| model | content |
| --- | --- |
{models or "| none | |"}

## Known limits

- The measurements are guesses by models with known biases: a safety classifier misses some unsafe
  pictures and drops some harmless ones, more often of some groups of people than of others.
- Language and toxicity are judged on the caption alone; short captions are judged badly.
- Repeats are found within the thresholds above; a strong crop or edit can pass.
- The pictures belong to their makers; the URLs may have changed since they were fetched.
"""


def _text(reason: str) -> str:
    return VOCABULARY[reason].text if reason in VOCABULARY else "A reason of this job's own."


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _size(rows: int) -> str:
    bounds = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"))
    larger = ((1_000_000, "100K<n<1M"), (10_000_000, "1M<n<10M"), (100_000_000, "10M<n<100M"))
    return next((name for bound, name in bounds + larger if rows < bound), "n>100M")
