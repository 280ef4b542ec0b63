"""A job's run folder, dealt and planned by the real functions; tests may write parts themselves."""

import contextlib
import hashlib
import io
import json
import tarfile
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from pipeline.config.job import Job
from pipeline.config.load import parse_job
from pipeline.engine.driver import Driver
from pipeline.engine.executors.inline import InlineExecutor
from pipeline.engine.export import Export, SlicedExport, run_export
from pipeline.engine.plan import Plan
from pipeline.engine.plan_file import save_plan
from pipeline.engine.product import Status
from pipeline.engine.runner import prepare
from pipeline.export.finish import finish
from pipeline.fetch.picture.fingerprints import perceptual_hash, thumbnail
from pipeline.ingest.deal import deal
from pipeline.measure.captions.captions import CaptionStage
from pipeline.table.freshness import INGEST
from pipeline.table.parquet import read_parquet
from pipeline.table.part import commit, shard_name
from pipeline.table.run import ShardIndex
from pipeline.words.progress import Lines

BARE: dict[str, Any] = {
    "captions": {"toxicity": None, "language": False},
    "images": {"nsfw": None},
    "dedup": {"verify": False, "turned": False, "pixels": False},
    "rules": [],
}
"""Sections that leave every model out."""


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def pairs(count: int, first: int = 0) -> list[dict[str, str]]:
    """Rows with arbitrary uids."""
    return [
        {"url": f"https://pictures.example/{i}.jpg", "caption": f"a drawing of kangaroo number {i}"}
        for i in range(first, first + count)
    ]


def make_job(folder: Path, rows: Sequence[Mapping[str, Any]], **sections: Any) -> Job:
    source = write_rows(folder / f"rows-{uuid.uuid4().hex[:6]}.jsonl", rows)
    values = {"input": str(source), "name": "planned", "output": str(folder / "runs")}
    return parse_job({**values, **BARE, **sections}, "job.yaml")


def jpeg(pixels: np.ndarray, quality: int = 95) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=quality)
    return out.getvalue()


def write_tar(path: Path, pictures: Mapping[int, bytes]) -> Path:
    """A download part's companion: `{row:06d}.jpg` in row order."""
    with tarfile.open(path, "w") as tar:
        for row, data in sorted(pictures.items()):
            info = tarfile.TarInfo(f"{row:06d}.jpg")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def fetched(pixels: np.ndarray | None, **changes: Any) -> dict[str, Any]:
    """The download stage's cells of one row; None means a 404."""
    if pixels is None:
        return {"status": "failed", "fetch_reason": "http_not_found", **changes}
    height, width = pixels.shape[:2]
    phash, quality = perceptual_hash(pixels)
    cells = {
        "status": "success", "sha256": hashlib.sha256(pixels.tobytes()).hexdigest(),
        "bytes": pixels.nbytes, "format": "jpeg", "width": width, "height": height,
        "original_width": width, "original_height": height, "original_pixels": width * height,
        "phash": phash, "phash_quality": quality, "thumb": thumbnail(pixels),
    }  # fmt: skip
    return cells | changes


@dataclass
class PlannedRun:
    """A planned run. `commit_part` writes cells that a test gives, `make` runs the stage."""

    plan: Plan
    index: ShardIndex
    scratch: Path
    digests: dict[str, dict[int, str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, job: Job, scratch: Path) -> "PlannedRun":
        prepared = prepare(job)
        index = deal(prepared.run, prepared.job, prepared.listing, lambda rows: None)
        save_plan(prepared.plan)
        return cls(prepared.plan, index, scratch)

    @property
    def shards(self) -> range:
        return range(len(self.index))

    @property
    def caption_stages(self) -> list[str]:
        """Stages that measure captions: they need no other stage's part."""
        return [n.name for n in self.plan.nodes if isinstance(n.stage, CaptionStage)]

    def rows(self, shard: int) -> list[dict[str, Any]]:
        return self.plan.run.shard(shard).to_pylist()

    def made_from(self, stage: str, shard: int) -> dict[str, str]:
        """Digests of the shard and of the parts that a stage and its masks read."""
        node = self.plan.by_name[stage]
        names = (*node.upstream, *node.mask_upstream)
        own = {name: self.digests[name][shard] for name in names}
        return {INGEST: self.index.shards[shard][1], **own}

    def commit_part(
        self,
        stage: str,
        shard: int,
        cells: Sequence[Mapping[str, Any]],
        files: Mapping[str, Path] | None = None,
    ) -> None:
        """Commit one shard's part from cells by row; missing cells are null. For `dedup`, parts
        without descriptors or edges are committed first, if there are none."""
        for before in ("descriptors", "pairs") if stage == "dedup" else ():
            if before in self.plan.by_name and shard not in self.digests.get(before, {}):
                self.commit_part(before, shard, [{}] * len(cells))
        node, name = self.plan.by_name[stage], shard_name(shard)
        schema = pa.schema([("uid", pa.string()), *((c.name, c.type) for c in node.stage.writes)])
        uids = [row["uid"] for row in self.rows(shard)]
        table = pa.Table.from_pylist(
            [{"uid": uid, **own} for uid, own in zip(uids, cells, strict=True)], schema=schema
        )
        expected = self.plan.expected(node, self.made_from(stage, shard))
        sidecar = commit(
            self.plan.run.folder.sub(node.folder), name, shard, {f"{name}.parquet": table},
            {f"{name}.{suffix}": path for suffix, path in (files or {}).items()},
            stage=stage, fingerprint=node.fingerprint,
            inputs=expected.inputs, policy=expected.policy,
            rows=len(uids), seconds=0.1, peak_memory_mb=1.0,
        )  # fmt: skip
        self.digests.setdefault(stage, {})[shard] = sidecar.digest

    def commit_pictures(self, shard: int, pictures: Sequence[np.ndarray | None], **changes) -> None:
        """A download part with its tar; `changes` are lists of cells by column."""
        cells = [
            fetched(pixels, **{name: values[i] for name, values in changes.items()})
            for i, pixels in enumerate(pictures)
        ]
        stored = {i: jpeg(p) for i, p in enumerate(pictures) if p is not None}
        tar = write_tar(self.scratch / f"{uuid.uuid4().hex}.tar", stored)
        self.commit_part("download", shard, cells, {"tar": tar})

    def commit_vectors(
        self, shard: int, vectors: np.ndarray, scores: Sequence[float | None]
    ) -> None:
        """An embed part; the texts' vectors are the pictures' in reverse order."""
        files = {}
        for name, array in (("img", vectors), ("txt", vectors[:, ::-1])):
            path = self.scratch / f"{uuid.uuid4().hex}.npy"
            np.save(path, array.astype(np.float16))
            files[f"{name}.npy"] = path
        self.commit_part("embed", shard, [{"clip_score": score} for score in scores], files)

    def make(self, *stages: str) -> None:
        """Make the parts of stages, as a run does; the parts that they read must exist."""
        nodes = [node for node in self.plan.nodes if node.name in stages]
        statuses = self.statuses()
        for name in stages:
            statuses.pop(name)
        opening = contextlib.nullcontext
        driver = Driver(
            self.plan,
            nodes,
            Lines(io.StringIO()),
            lambda light: opening(InlineExecutor()),
            statuses,
        )
        with contextlib.closing(driver):
            driver.make(nodes)
        assert driver.quarantined == []
        for name in stages:
            made = statuses[name].digests
            assert set(made) == set(self.shards), f"{name} reads what was not made"
            self.digests[name] = made

    def read(self, stage: str) -> dict[str, dict[str, Any]]:
        """A stage's cells of all shards, by the row's caption."""
        node, found = self.plan.by_name[stage], {}
        for shard in self.shards:
            name = f"{node.folder}/{shard_name(shard)}.parquet"
            cells = read_parquet(self.plan.run.folder, name).to_pylist()
            for row, own in zip(self.rows(shard), cells, strict=True):
                assert row["uid"] == own["uid"]
                found[row["caption"]] = own
        return found

    def groups(self) -> set[frozenset[str]]:
        """The groups of duplicates, as sets of captions."""
        found: dict[str, set[str]] = {}
        for caption, own in self.read("dedup").items():
            if own["dup_group"] is not None:
                found.setdefault(own["dup_group"], set()).add(caption)
        return {frozenset(members) for members in found.values()}

    def statuses(self) -> dict[str, Status]:
        not_made = dict.fromkeys(self.shards, "")  # a stage that a test leaves out
        shards = {shard: digest for shard, (_, digest) in enumerate(self.index.shards)}
        found = {INGEST: Status(shards, len(shards))}
        for node in self.plan.nodes:
            found[node.name] = Status(dict(self.digests.get(node.name, not_made)), len(shards))
        return found

    def sliced(self) -> SlicedExport:
        return SlicedExport.of(Export(self.plan), self.statuses(), self.shards)

    def export(self) -> SlicedExport:
        sliced = self.sliced()
        for number, slices in enumerate(sliced.slices):
            inputs = sliced.shard_inputs[number]
            run_export(self.plan.run.folder.url, self.plan.digest, number, slices, inputs, {})
        reasons = [own["reason"] or "kept" for own in self.read("decide").values()]
        counts = {reason: reasons.count(reason) for reason in reasons}
        facts = {"winnow": "0", "models": {"clip: tiny": "ab" * 32}}
        finish(sliced, counts, facts, self.notes.append)
        return sliced
