"""Label Studio's tasks, so that people can look at kept pictures and label them."""

import json
from typing import Any

from pipeline.config.job import Job
from pipeline.export.imagefolder import FOLDER as PICTURES
from pipeline.export.imagefolder import picture_files
from pipeline.export.layout import Export, Layout, Takedown
from pipeline.export.shards import json_rows, renamed
from pipeline.ingest.schema import Listing
from pipeline.table.parquet import read_parquet
from pipeline.table.part import shard_name

FOLDER = "label-studio"
_CONFIG = """<View>
  <Image name="image" value="$image"/>
  <Text name="caption" value="$caption"/>
  <Choices name="verdict" toName="image" choice="single">
    <Choice value="keep"/>
    <Choice value="drop"/>
  </Choices>
  <TextArea name="better_caption" toName="image" placeholder="A better caption"/>
</View>
"""


class LabelStudio(Layout):
    """`label-studio/00000.json` … : one task for each row, and a labelling interface to start from.

    The pictures are those of the layout imagefolder, served by Label Studio's local files: its
    LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT is the export's folder.
    """

    name = FOLDER
    text = (
        "`label-studio/`: tasks to import in Label Studio and `config.xml`, an interface for them; "
        "needs `imagefolder`, and the export's folder as "
        "`LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT`."
    )
    files = (rf"{FOLDER}/\d+\.json", rf"{FOLDER}/config\.xml")

    def needs(self, job: Job, listing: Listing) -> str | None:
        return None if PICTURES in job.export.formats else f"the pictures; add `{PICTURES}`"

    def write(self, export: Export) -> list[str]:
        for number in range(len(export.slices)):
            table = read_parquet(export.folder, f"{shard_name(number)}.parquet")
            export.folder.write(f"{FOLDER}/{shard_name(number)}.json", _tasks(number, table))
        export.folder.write(f"{FOLDER}/config.xml", _CONFIG.encode())
        return []

    def erase(self, takedown: Takedown) -> None:
        for number in takedown.shards:
            name = f"{FOLDER}/{shard_name(number)}.json"
            if takedown.folder.exists(name):
                takedown.folder.write(name, _tasks(number, takedown.left(takedown.table(number))))


def _tasks(number: int, table: Any) -> bytes:
    files = picture_files(shard_name(number), table)
    tasks = [
        {"data": {**renamed(row, {"image"}), "image": f"/data/local-files/?d={file}"}}
        for file, row in zip(files, json_rows(table), strict=True)
    ]
    return json.dumps(tasks, ensure_ascii=False, default=str, allow_nan=False).encode()
