"""The download stage: from URLs to stored pictures, hashes and reasons."""

import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.config.download import DownloadConfig
from pipeline.stage import Output, ShardData, TableStage
from pipeline.table import Column

if TYPE_CHECKING:
    from pipeline.fetch.writer import Fetched

_COLUMNS = (
    Column(
        "status",
        pa.string(),
        "`success`; `failed` (see `fetch_reason`); `skipped` (`only_if` said no); `invalid` (see "
        "`input_error`).",
    ),
    Column("fetch_reason", pa.string(), "Why there is no picture; null on success."),
    Column("error_message", pa.string(), "The reason's detail, at most 300 characters."),
    Column("sha256", pa.string(), "sha256 (hex) of the bytes as fetched."),
    Column("bytes", pa.int64(), "Bytes as fetched, after any content encoding."),
    Column("format", pa.string(), "`jpeg`, `png`, `webp` or `gif`, by the bytes."),
    Column("width", pa.int32(), "Width of the stored JPEG, pixels."),
    Column("height", pa.int32(), "Height of the stored JPEG, pixels."),
    Column("original_width", pa.int32(), "Width of the picture as fetched, upright, pixels."),
    Column("original_height", pa.int32(), "Height of the picture as fetched, upright, pixels."),
    Column("original_pixels", pa.int64(), "Width times height of the picture as fetched."),
    Column("phash", pa.binary(32), "PDQ hash, 256 bits."),
    Column("phash_quality", pa.int32(), "PDQ's quality, 0–100; low for flat pictures."),
    Column("thumb", pa.binary(432), "The picture at 12×12 RGB, uint8, row by row."),
)


class DownloadStage(TableStage):
    """Fetches a shard's pictures; writes `<shard>.tar` with `{row:06d}.jpg` for each success.

    `row` is the row's index in the shard. The same served bytes yield the same files.
    """

    name = "download"
    resource = "net"

    @property
    def config(self) -> DownloadConfig:
        return self.job.download

    @property
    def reads(self) -> tuple[str, ...]:
        return ("url", "input_error")

    @property
    def writes(self) -> tuple[Column, ...]:
        return _COLUMNS

    @property
    def only_if(self) -> str | None:
        return self.config.only_if

    def settings(self) -> dict[str, Any]:
        recipe = self.config.recipe()
        del recipe["only_if"]  # the plan covers it
        return recipe

    def run(self, shard: ShardData, rows: npt.NDArray[np.bool_]) -> Output:
        table = shard.table(*self.reads)
        invalid = table["input_error"].is_valid().to_pylist()
        wanted = [i for i in range(len(table)) if rows[i] and not invalid[i]]
        with tempfile.NamedTemporaryFile(prefix="winnow-", suffix=".tar", delete=False) as handle:
            tar = Path(handle.name)
        try:
            results = self._fetch(table, wanted, tar)
            records = []
            for i in range(len(table)):
                if i in results:
                    records.append(_record(results[i]))
                else:
                    records.append({"status": "invalid" if invalid[i] else "skipped"})
            schema = pa.schema([(column.name, column.type) for column in _COLUMNS])
            measured = pa.Table.from_pylist(records, schema=schema)
        except BaseException:
            tar.unlink(missing_ok=True)
            raise
        return Output(measured.add_column(0, "uid", table["uid"]), {"tar": tar}, _summary(records))

    def _fetch(self, table: pa.Table, wanted: list[int], tar: Path) -> "dict[int, Fetched]":
        """Fetch the wanted rows and write the tar; a result per row."""
        from pipeline.fetch.drive import fetch_urls
        from pipeline.fetch.writer import Spool

        urls = table["url"].to_pylist()
        with tempfile.TemporaryDirectory(prefix="winnow-") as scratch:
            spool = Spool(Path(scratch) / "spool")
            try:
                found = fetch_urls([urls[i] for i in wanted], self.config, spool)
                results = dict(zip(wanted, found, strict=True))
                spool.write_tar(
                    tar, [(f"{i:06d}.jpg", r.span) for i, r in results.items() if r.span]
                )
            finally:
                spool.close()
        return results


def _record(result: "Fetched") -> dict[str, Any]:
    facts = result.facts
    record: dict[str, Any] = {
        "status": "failed" if result.reason else "success",
        "fetch_reason": result.reason,
        "error_message": result.message,
        "width": result.width,
        "height": result.height,
    }
    if facts is not None:
        width, height = facts.original_width, facts.original_height
        record |= {
            "sha256": facts.sha256,
            "bytes": facts.size,
            "format": facts.format,
            "original_width": width,
            "original_height": height,
            "original_pixels": width * height if width and height else None,
            "phash": facts.phash,
            "phash_quality": facts.phash_quality,
            "thumb": facts.thumb,
        }
    return record


def _summary(records: list[dict[str, Any]]) -> dict[str, Any]:
    status = Counter(r["status"] for r in records)
    reasons = Counter(r["fetch_reason"] for r in records if r["status"] == "failed")
    return {
        **{name: status[name] for name in ("success", "failed", "skipped", "invalid")},
        "reasons": dict(sorted(reasons.items())),
        "bytes": sum(r.get("bytes") or 0 for r in records),
    }
