"""The report as a product of a run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pipeline
from pipeline.config.job import Job
from pipeline.engine.parts import recorded
from pipeline.engine.product import Made, Single, Status, Work
from pipeline.table.part import digest_of, file_digest
from pipeline.table.run import JOB_SUM, Run
from pipeline.table.tombstones import Tombstones
from pipeline.words.errors import InputError

PAGE = "report.html"
VERSION = 3
"""Raised when the same run should give another page."""
HERE = Path(__file__).parent
SHOWN = ("provenance.json", "train/log.jsonl", "samples/samples.jsonl", "samples/grid.png")
"""Files that the page shows beside the products' tables."""


class Report(Single):
    """`report.html`: the run on one page."""

    name = "report"
    rank = 90
    place = ""
    follows = True
    shows_end = True

    def __init__(self, run: Run, job: Job | None = None) -> None:
        """All that it needs is in the folder; `job` is not used."""
        self.run = run

    def recipe(self) -> dict[str, Any]:
        page = {path.name: file_digest(path) for path in sorted(HERE.glob("page.*"))}
        return {"version": [VERSION, pipeline.__version__], "page": page}

    def inputs(self, before: Mapping[str, Status]) -> dict[str, str | None]:
        return dict(self._shown(before))

    def _shown(self, before: Mapping[str, Status]) -> dict[str, str]:
        """Digests of all that the page shows, without the time of the last run."""
        made = {name: one.content for name, one in before.items() if name != self.name}
        files = {name: _digest(self.run, name) for name in SHOWN}
        job = None
        if self.run.folder.exists("resolved.json"):  # comments in a job file change no page
            job = {name: value for name, value in self.run.job.items() if name != JOB_SUM}
        shown = [job, self.run.state.get("quarantined")]
        return {**made, **files, "job": digest_of(shown)}

    def produce(self, work: Work) -> Made:
        return self._write()

    def write(self) -> str:
        """Write the page, even if the run is not up to date; its path.

        InputError if the input has not been dealt into shards yet.
        """
        self.commit(self._shown(recorded(self.run)), self._write)
        return self.paths()["report"]

    def _write(self) -> Made:
        """Write the page; again if rows were taken down meanwhile, since it may show them.

        InputError while a takedown is not finished.
        """
        from pipeline.inspect.report.write import write_report

        before = None
        while (stones := Tombstones.read(self.run.folder)).stones != before:
            if stones.undone:
                self.run.folder.remove(PAGE)
                raise InputError(
                    f"a takedown in {self.run.folder.url} is not finished; "
                    "wait for it, or let the next `winnow run` finish it"
                )
            before = stones.stones
            with self.run.folder.hold():
                write_report(self.run)
        return Made([PAGE])

    def paths(self) -> dict[str, str]:
        return {"report": self.run.folder.path(PAGE)}

    @classmethod
    def holding(cls, run: Run, uids: Any) -> dict[str, Any]:
        return {"page": True} if uids and run.folder.exists(PAGE) else {}

    @classmethod
    def erase(cls, run: Run, uids: Any, held: Mapping[str, Any]) -> None:
        """It shows rows as examples; it is written anew when the run is brought up to date."""
        run.folder.remove(PAGE)


def _digest(run: Run, name: str) -> str:
    return digest_of(run.folder.read(name).hex()) if run.folder.exists(name) else ""
