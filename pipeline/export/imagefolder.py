"""Hugging Face's imagefolder: pictures as plain files, and a table of their columns."""

from collections.abc import Collection, Iterator

import pyarrow as pa

from pipeline.export.layout import Export, Layout, Takedown
from pipeline.export.named import CAPTIONS, caption_of
from pipeline.table.parquet import read_parquet, write_parquet
from pipeline.table.part import shard_name
from pipeline.table.tars import members

FOLDER, METADATA = "imagefolder", "metadata.parquet"


class ImageFolder(Layout):
    """`imagefolder/00000/000000000.jpg` … and `imagefolder/00000/metadata.parquet` for each tar.

    The table has `file_name`, the caption as `text`, and the other columns. `datasets` takes any
    column whose name ends in `_file_name` for further pictures, so such a column of the list is
    called `…_filename` here. Read by `load_dataset("imagefolder", data_dir=…)`, and with it by
    diffusers' and other training scripts.
    """

    name = FOLDER
    text = (
        "`imagefolder/`: pictures as files and `metadata.parquet` with `file_name` and `text`, for "
        '`load_dataset("imagefolder", …)` and training scripts. It doubles the export\'s size.'
    )
    files = (rf"{FOLDER}/\d+/\d+\.jpg", rf"{FOLDER}/\d+/{METADATA}")

    def write(self, export: Export) -> list[str]:
        folder = export.folder
        for number in range(len(export.slices)):
            shard = shard_name(number)
            with folder.local(f"{shard}.tar") as tar:
                for name, data in members(tar):
                    if name.endswith(".jpg"):
                        folder.write(f"{FOLDER}/{shard}/{name}", data)
            table = read_parquet(folder, f"{shard}.parquet")
            with folder.create(f"{FOLDER}/{shard}/{METADATA}") as path:
                write_parquet(_metadata(table), path)
        return []

    def erase(self, takedown: Takedown) -> None:
        folder = takedown.folder
        for number in takedown.shards:
            shard, table = shard_name(number), takedown.table(number)
            if not folder.exists(f"{FOLDER}/{shard}/{METADATA}"):
                continue
            for name in picture_files(shard, table.filter(pa.array(takedown.gone(table)))):
                folder.remove(name)
            with folder.create(f"{FOLDER}/{shard}/{METADATA}") as path:
                write_parquet(_metadata(takedown.left(table)), path)


def picture_files(shard: str, table: pa.Table) -> Iterator[str]:
    """The rows' pictures, relative to the export's folder."""
    return (f"{FOLDER}/{shard}/{key}.jpg" for key in table["key"].to_pylist())


def _metadata(table: pa.Table) -> pa.Table:
    files = [f"{key}.jpg" for key in table["key"].to_pylist()]
    names: list[str] = []
    for name in table.column_names:
        names.append(_column_name(name, {"file_name", "text", *names} if name != "caption" else ()))
    named = table.rename_columns(names)
    if CAPTIONS in table.column_names:
        rows = table.select(["caption", CAPTIONS]).to_pylist()
        texts = pa.array(map(caption_of, rows), pa.string())
        named = named.set_column(names.index("text"), "text", texts)
    return named.add_column(0, "file_name", pa.array(files, pa.string()))


def _column_name(name: str, taken: Collection[str]) -> str:
    if name == "caption":
        return "text"
    for end in ("file_name", "file_names"):
        if name == end or name.endswith(f"_{end}"):
            name = name.removesuffix(end) + end.replace("_", "")
    while name in taken:
        name = f"input_{name}"
    return name
