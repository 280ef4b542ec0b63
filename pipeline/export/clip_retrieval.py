"""clip-retrieval's layout: the vectors of pictures and captions, and the rows they belong to."""

import numpy as np

from pipeline.config.job import Job
from pipeline.export.layout import Export, Layout, Takedown
from pipeline.export.shards import vectors
from pipeline.ingest.schema import Listing
from pipeline.table.parquet import write_parquet
from pipeline.table.part import shard_name

_KINDS = (("img", "img"), ("txt", "text"))
"""A companion array of the stage embed, and what clip-retrieval calls it."""


class ClipRetrieval(Layout):
    """`img_emb/img_emb_0.npy`, `text_emb/text_emb_0.npy` (float16, shape (rows, dim)) and
    `metadata/metadata_0.parquet` …: one of each for every tar, with the same rows."""

    name = "clip-retrieval"
    text = "`img_emb/`, `text_emb/` and `metadata/`, as clip-retrieval indexes them."
    files = (
        r"img_emb/img_emb_\d+\.npy",
        r"text_emb/text_emb_\d+\.npy",
        r"metadata/metadata_\d+\.parquet",
    )

    def needs(self, job: Job, listing: Listing) -> str | None:
        return None if job.embed.model else "vectors; set `embed.model`"

    def write(self, export: Export) -> list[str]:
        folder = export.folder
        for number, slices in enumerate(export.slices):
            parts = [(export.masked(part.shard), part) for part in slices]
            for short, long in _KINDS:
                with (
                    folder.create(f"{long}_emb/{long}_emb_{number}.npy") as path,
                    path.open("wb") as out,
                ):
                    np.save(out, vectors(parts, short), allow_pickle=False)
            with (
                folder.local(f"{shard_name(number)}.parquet") as source,
                folder.create(f"metadata/metadata_{number}.parquet") as path,
            ):
                path.write_bytes(source.read_bytes())
        return []

    def erase(self, takedown: Takedown) -> None:
        folder = takedown.folder
        for number in takedown.shards:
            table = takedown.table(number)
            stays = ~takedown.gone(table)
            for _, long in _KINDS:
                file = f"{long}_emb/{long}_emb_{number}.npy"
                if not folder.exists(file):
                    continue
                with folder.local(file) as source:
                    array = np.load(source, allow_pickle=False)
                if len(array) == len(stays):  # else an earlier, killed erasure has done it
                    with folder.create(file) as path, path.open("wb") as out:
                        np.save(out, array[stays], allow_pickle=False)
            file = f"metadata/metadata_{number}.parquet"
            if folder.exists(file):
                with folder.create(file) as path:
                    write_parquet(takedown.left(table), path)
