"""The download stage: from URLs to stored pictures, hashes and reasons."""

import difflib
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipeline.config.base import Section
from pipeline.config.download import DownloadConfig
from pipeline.config.job import Job
from pipeline.ingest.rows import as_text
from pipeline.measure.fetch_columns import FETCH_COLUMNS
from pipeline.measure.promises import named_columns, verify
from pipeline.measure.stage import Output, TableStage
from pipeline.table.columns import DECLARED, LATE, SIGNALS, WARNED, WARNINGS, Column
from pipeline.table.parquet import read_parquet
from pipeline.table.part import file_digest, read_sidecar
from pipeline.table.shard import Rows, ShardData
from pipeline.table.stored import INTERNAL, STORED
from pipeline.words.errors import InputError
from pipeline.words.reasons import MEASURE

if TYPE_CHECKING:
    from pipeline.fetch.lists import HashList
    from pipeline.fetch.writer import Fetched

(KILLED,) = MEASURE
HELD_BACK = "s held back by per_host and per_host_rate"
"""A count of the summary: seconds over all fetching threads, shown beside the bar."""


class DownloadStage(TableStage):
    """Fetches a shard's pictures; writes `<shard>.tar` with `{row:06d}.jpg` for each success.

    `row` is the row's index in the shard. The same served bytes yield the same files.
    """

    name = "download"
    rank = 10
    step = "Fetched-picture rules"
    version = 3
    resource = "net"

    def __init__(self, job: Job, schema: Mapping[str, pa.DataType]) -> None:
        super().__init__(job)
        self._schema = schema
        self.expected = expected_columns(job, schema)

    @classmethod
    def of(cls, job: Job, schema: Mapping[str, pa.DataType]) -> "DownloadStage | None":
        return cls(job, schema)

    @property
    def config(self) -> DownloadConfig:
        return self.job.download

    def sections(self) -> dict[str, Section]:
        return {"download": self.config}

    @property
    def reads(self) -> tuple[str, ...]:
        stored = (STORED,) if STORED in self._schema else ()
        return ("url", "input_error", *stored, *self.expected.values())

    @property
    def writes(self) -> tuple[Column, ...]:
        return FETCH_COLUMNS

    @property
    def only_if(self) -> str | None:
        return self.config.only_if

    def settings(self) -> dict[str, Any]:
        return self.config.recipe()

    def gates(self) -> dict[str, Any]:
        gates = self.config.changed("gate")
        for name in ("blocklist", "opted_out_domains"):
            if gates.get(name) is not None:
                gates[name] = file_digest(Path(gates[name]))
        return gates | ({"expected": self.expected} if self.expected else {})

    def reconsider(self, shard: ShardData, before: Mapping[str, Any], stored: pa.Table) -> Rows:
        from pipeline.fetch.gates import named_pictures, reconsider

        def named(blocklist: "HashList") -> dict[int, str]:
            with shard.file(self.name, "tar") as tar:
                return named_pictures(stored, tar, blocklist)

        urls = shard.table("url")["url"]
        return reconsider(self.config, before, self.gates(), stored, urls, named)

    def summary(self, table: pa.Table) -> dict[str, Any]:
        return fetch_summary(table)

    def with_killed(self, table: pa.Table, killed: Mapping[int, str]) -> pa.Table:
        cells = {"status": "failed", "fetch_reason": KILLED}
        for place, field in enumerate(table.schema):
            if field.name in ("status", "fetch_reason", "error_message"):
                values = table[field.name].to_pylist()
                for row, cause in killed.items():
                    values[row] = cells.get(field.name, f"the process died of {cause}")
                table = table.set_column(place, field, pa.array(values, field.type))
        return table

    def notice(self) -> str | None:
        if self.config.user_agent_contact is not None:
            return None
        return "download.user_agent_contact is not set: sites cannot see whom to contact"

    def check(self) -> None:
        from pipeline.fetch.lists import read_domains, read_hashes
        from pipeline.fetch.paths import check_folder

        for folder in self.config.allow_paths:
            check_folder(folder)
        read_domains(self.config.opted_out_domains)
        read_hashes(self.config.blocklist, self.config.blocklist_pdq_distance)
        for kind, named in named_columns(self.job).items():
            if named is not None and kind not in self.expected and self.config.verify_hash:
                near = difflib.get_close_matches(named, self._schema, n=1)
                hint = (
                    f"did you mean `{near[0]}`?" if near else f"there are {', '.join(self._schema)}"
                )
                raise InputError(f"columns.{kind}: the input has no column `{named}`; {hint}")

    def run(self, shard: ShardData, rows: Rows) -> Output:
        table = shard.table(*self.reads)
        invalid = table["input_error"].is_valid().to_pylist()
        wanted = [i for i in range(len(table)) if rows[i] and not invalid[i]]
        assert shard.scratch is not None
        tar = shard.scratch / f"{self.name}.tar"
        results, held_back = self._fetch(shard, table, wanted, tar)
        records = []
        for i in range(len(table)):
            if i in results:
                records.append(_record(results[i]))
            else:
                records.append({"status": "invalid" if invalid[i] else "skipped"})
        schema = pa.schema([(column.name, column.type) for column in FETCH_COLUMNS])
        measured = pa.Table.from_pylist(records, schema=schema)
        summary = fetch_summary(measured)
        if held_back >= 1:
            summary[HELD_BACK] = int(held_back)
        return Output(measured.add_column(0, "uid", table["uid"]), {"tar": tar}, summary)

    def _fetch(
        self, shard: ShardData, table: pa.Table, wanted: list[int], tar: Path
    ) -> "tuple[dict[int, Fetched], float]":
        """Fetch the wanted rows and write the tar: results by row, and seconds held back."""
        from pipeline.fetch.downloader import fetch_urls
        from pipeline.fetch.writer import Spool
        from pipeline.table.tombstones import Tombstones

        urls = table["url"].to_pylist()
        places = _places(shard, table)
        with Spool(tar.parent) as spool:
            known = self._listed(shard, table["uid"], wanted)
            asked = [i for i in wanted if i not in known]
            found = fetch_urls(
                [urls[i] for i in asked], self.config, spool,
                forgotten=Tombstones.read(shard.run.folder).sha256,
                stored=[places[i] for i in asked],
            )  # fmt: skip
            results = {**dict(zip(asked, found, strict=True)), **known}
            for kind, column in self.expected.items():
                hashes = [as_text(value)[0] for value in table[column].to_pylist()]
                # A tar's pictures were mostly made anew since the list noted their hashes.
                hashes = [h if not p else None for h, p in zip(hashes, places, strict=True)]
                results = {i: verify(r, kind, hashes[i]) for i, r in results.items()}
            spool.write_tar(
                tar, [(f"{i:06d}.jpg", r.span) for i, r in sorted(results.items()) if r.span]
            )
        return results, spool.held_back

    def _listed(
        self, shard: ShardData, uids: pa.ChunkedArray, wanted: list[int]
    ) -> "dict[int, Fetched]":
        """Wanted rows whose stored pictures are on today's blocklist: no request is sent for them.

        They are looked for in the existing part, if there is one.
        """
        from pipeline.fetch.gates import named_pictures, refused_as_listed
        from pipeline.fetch.lists import read_hashes

        blocklist = read_hashes(self.config.blocklist, self.config.blocklist_pdq_distance)
        if blocklist is None or self.name not in shard.folders:
            return {}
        folder = shard.run.folder.sub(shard.folders[self.name])
        if read_sidecar(folder, shard.name) is None:
            return {}
        stored = read_parquet(folder, f"{shard.name}.parquet")
        if not stored["uid"].equals(uids):
            return {}
        with shard.file(self.name, "tar") as tar:
            named = named_pictures(stored, tar, blocklist)
        return {row: refused_as_listed(named[row]) for row in wanted if row in named}


def _places(shard: ShardData, table: pa.Table) -> list[str | None]:
    """Where the list's own files hold the rows' pictures; None for those to be fetched."""
    index = shard.run.index if STORED in table.column_names else None
    if index is None or index.passthrough.get(STORED) != INTERNAL:
        return [None] * len(table)  # a column of this name in the list itself is only data
    places: list[str | None] = table[STORED].to_pylist()
    return places


def expected_columns(job: Job, schema: Mapping[str, pa.DataType]) -> dict[str, str]:
    """The shard's columns of hashes that the input promises, by kind."""
    found, own = {}, {column.name for column in FETCH_COLUMNS}
    for kind, named in named_columns(job).items() if job.download.verify_hash else ():
        wanted = named or kind
        # An input's column is kept under another name where a stage writes that one.
        name = f"input_{wanted}" if f"input_{wanted}" in schema else wanted
        if name in schema and name not in own:
            found[kind] = name
    return found


def _record(result: "Fetched") -> dict[str, Any]:
    record: dict[str, Any] = {
        "status": "failed" if result.reason else "success",
        "fetch_reason": result.reason,
        "error_message": result.message,
        **asdict(result.opt_outs),
    }
    if (facts := result.facts) is not None:
        made = facts.made
        width, height = made.original_width, made.original_height
        record |= {
            "sha256": facts.sha256,
            "md5": facts.md5,
            "bytes": facts.size,
            "format": made.format,
            "width": made.width,
            "height": made.height,
            "original_width": width,
            "original_height": height,
            "original_pixels": width * height if width and height else None,
            "phash": made.phash or None,
            "phash_quality": made.phash_quality,
            "thumb": made.thumb or None,
            **{column.name: getattr(made, column.name) for column in LATE},
        }
    return record


def fetch_summary(table: pa.Table) -> dict[str, Any]:
    """A download part's counts, from its table."""
    status = Counter(table["status"].to_pylist())
    reasons = Counter(table["fetch_reason"].drop_null().to_pylist())
    return {
        **{name: status[name] for name in ("success", "failed", "skipped", "invalid")},
        "reasons": dict(sorted(reasons.items())),
        "bytes": sum(size or 0 for size in table["bytes"].to_pylist()),
        **_declared(table),
        **_warned(table),
    }


def _declared(table: pa.Table) -> dict[str, Any]:
    """How many pictures state what, in a part whose pictures' metadata was read."""
    names = [column.name for column in SIGNALS]
    if not set(names) <= set(table.column_names):
        return {}
    return {DECLARED: {name: len(table) - table[name].null_count for name in names}}


def _warned(table: pa.Table) -> dict[str, Any]:
    """How many pictures have which warning, in a part that has the column."""
    if WARNINGS.name not in table.column_names:
        return {}
    words = Counter(
        word for said in table[WARNINGS.name].drop_null().to_pylist() for word in said.split(", ")
    )
    return {WARNED: dict(sorted(words.items()))}
