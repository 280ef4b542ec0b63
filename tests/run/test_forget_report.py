"""A report that is made while rows are taken down."""

import pytest
from takedown import folder, take

from pipeline.inspect.report import write
from pipeline.inspect.report.product import PAGE, Report
from pipeline.table.run import Run
from pipeline.table.tombstones import Scope, Tombstones
from pipeline.words.errors import InputError


def test_a_report_begun_before_a_takedown_does_not_bring_its_rows_back(copy, monkeypatch):
    row = copy.rows[3]
    render, pages = write.gather, []

    def gather_then_forget(run, seed):
        values = render(run, seed)
        if not pages:
            take(copy, ("url", row["url"]))
        pages.append(values)
        return values

    monkeypatch.setattr(write, "gather", gather_then_forget)
    Report(Run(folder(copy))).write()

    page = (folder(copy) / PAGE).read_text()
    assert len(pages) == 2
    assert row["url"] not in page
    assert row["caption"] not in page


def test_no_report_is_made_while_a_takedown_is_not_finished(copy):
    run = Run(folder(copy))
    Tombstones.read(run.folder).with_([Scope("uid", "0" * 32)]).write(run.folder)

    with pytest.raises(InputError, match=r"a takedown in .* is not finished"):
        Report(run).write()
    assert not (folder(copy) / PAGE).exists()
