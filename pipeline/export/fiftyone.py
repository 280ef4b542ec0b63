"""FiftyOne's layout, so that people can look at the kept pictures beside their measurements."""

import json
from collections.abc import Iterable
from typing import Any

from pipeline.config.job import Job
from pipeline.export.imagefolder import FOLDER as PICTURES
from pipeline.export.imagefolder import picture_files
from pipeline.export.layout import Export, Layout, Takedown
from pipeline.export.named import row_without
from pipeline.export.shards import json_rows, renamed
from pipeline.ingest.schema import Listing
from pipeline.table.parquet import read_parquet
from pipeline.table.part import shard_name

FOLDER = "fiftyone"
_SAMPLES = f"{FOLDER}/samples.json"
_TAKEN = {"id", "filepath", "tags", "metadata", "media_type", "created_at", "last_modified_at"}
"""Fields that every FiftyOne sample has."""


class FiftyOne(Layout):
    """`fiftyone/samples.json`: one sample with all columns for each row, and `metadata.json`.

    The pictures are those of the layout imagefolder. A column named like a field of FiftyOne's own
    is called `input_…`. Read by `fiftyone.Dataset.from_dir(…, dataset_type=FiftyOneDataset)`.
    """

    name = FOLDER
    text = (
        "`fiftyone/`: samples with all columns, for "
        "`fiftyone.Dataset.from_dir(dataset_dir=…, dataset_type=fiftyone.types.FiftyOneDataset)`; "
        "needs `imagefolder`."
    )
    files = (rf"{FOLDER}/(samples|metadata)\.json",)

    def needs(self, job: Job, listing: Listing) -> str | None:
        return None if PICTURES in job.export.formats else f"the pictures; add `{PICTURES}`"

    def write(self, export: Export) -> list[str]:
        folder = export.folder
        folder.write(f"{FOLDER}/metadata.json", json.dumps({"media_type": "image"}).encode())
        with folder.create(_SAMPLES) as path, path.open("w", encoding="utf-8") as out:
            out.write('{"samples": [')
            mark = "\n"
            for number in range(len(export.slices)):
                table = read_parquet(folder, f"{shard_name(number)}.parquet")
                files = picture_files(shard_name(number), table)
                for file, row in zip(files, json_rows(table), strict=True):
                    out.write(mark + _encode(_sample(file, row)))
                    mark = ",\n"
            out.write("\n]}\n")
        return []

    def erase(self, takedown: Takedown) -> None:
        if not takedown.folder.exists(_SAMPLES):
            return
        gone = set(takedown.uids.to_pylist())
        samples = json.loads(takedown.folder.read(_SAMPLES))["samples"]
        left = [row_without(one, gone) for one in samples if one.get("uid") not in gone]
        takedown.folder.write(_SAMPLES, _whole(map(_encode, left)))


def _whole(samples: Iterable[str]) -> bytes:
    return ('{"samples": [\n' + ",\n".join(samples) + "\n]}\n").encode()


def _sample(file: str, row: dict[str, Any]) -> dict[str, Any]:
    return {"filepath": f"../{file}", **renamed(row, _TAKEN)}


def _encode(sample: dict[str, Any]) -> str:
    return json.dumps(sample, ensure_ascii=False, default=str, allow_nan=False)
