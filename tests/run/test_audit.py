"""Rows that an `only_if` leaves out, but that the audit measures: marked, and never kept."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.inspect.query import query

REFUSED = "url like '%/1_.jpg'"  # ten of the site's pictures, 10.jpg to 19.jpg
REST = f"not ({REFUSED})"


def cells(result, columns, where="true"):
    return query(
        result.run, f"select {columns} from samples where {where} order by all"
    ).to_pylist()


def test_rows_of_the_audit_are_fetched_but_never_kept(own, asked):
    job = own.job(own.site.rows[:20], download={"only_if": REST}, audit_fraction=1)
    result = own.run(job)
    refused = cells(result, "status, reason, audit, sha256 is not null as fetched", REFUSED)
    expected = {"status": "success", "reason": "not_measured", "audit": True, "fetched": True}
    assert refused == [expected] * 10
    others = cells(result, "distinct reason, audit", REST)
    assert others == [{"reason": None, "audit": False}]
    assert len(asked) == 20


def test_the_audit_share_changes_no_verdict_and_no_export(own):
    """Also if a rule reads a column that only the audit measured, and with `if_null: drop`."""
    sections = {
        "download": {"only_if": REST},
        "embed": {"model": "winnow-tiny", "only_if": "url not like '%/2.jpg'"},
        "rules": [
            {"reason": "low_clip_score", "when": "clip_score < -1", "if_null": "drop"},
            {"reason": "duplicate", "when": "dup_group is not null"},
        ],
    }
    digests, verdicts = set(), []
    for fraction in (0, 1):
        result = own.run(own.job(own.site.rows[:20], audit_fraction=fraction, **sections))
        digests.add(result.digest)
        verdicts.append(cells(result, "url, reason, reasons"))
        audited = cells(result, "count(*) filter (audit) as n")[0]["n"]
        assert audited == (11 if fraction else 0)
    assert verdicts[0] == verdicts[1]
    assert len(digests) == 1
    reasons = {row["url"].rsplit("/", 1)[1]: row["reason"] for row in verdicts[0]}
    assert reasons["2.jpg"] == "low_clip_score"
    assert reasons["12.jpg"] == "not_measured"


def test_an_audited_picture_is_never_kept_instead_of_a_duplicate(own):
    """The copy of a refused picture is kept, even if the audited one has the better scores."""
    rows = [own.site.rows[0], own.site.rows[-1]]  # 0.jpg and its copy under another address
    for refused in ("0.jpg", "copy.jpg"):
        only_if = {"only_if": f"url not like '%/{refused}'"}
        result = own.run(own.job(rows, download=only_if, audit_fraction=1))
        reasons = {r["url"].rsplit("/", 1)[1]: r["reason"] for r in cells(result, "url, reason")}
        kept = ({"0.jpg", "copy.jpg"} - {refused}).pop()
        assert reasons == {kept: None, refused: "not_measured"}


@pytest.mark.parametrize("fraction", [0, 0.5])
def test_every_row_is_accounted_for(own, counts, fraction):
    job = own.job(own.site.rows[:20], download={"only_if": REST}, audit_fraction=fraction)
    seen = counts(own.run(job))
    assert (seen["conserved"], seen["kept"], seen["reasons"]) == (True, 10, {"not_measured": 10})
    assert seen["export"]["rows"] == 10


def test_a_kept_row_embedded_only_for_the_audit_exports_zero_vectors(own):
    only_if = {"model": "winnow-tiny", "only_if": "url not like '%/2.jpg'"}
    exports = {"formats": ["clip-retrieval"]}
    for fraction in (0, 1):
        job = own.job(own.site.rows[:6], embed=only_if, export=exports, audit_fraction=fraction)
        result = own.run(job)
        folder = Path(result.export.place.path())
        names = pq.read_table(folder / "metadata/metadata_0.parquet")["url"].to_pylist()
        for kind in ("img", "text"):
            vectors = np.load(folder / f"{kind}_emb/{kind}_emb_0.npy")
            blank = [n for n, v in zip(names, vectors, strict=True) if not v.any()]
            assert [name.rsplit("/", 1)[1] for name in blank] == ["2.jpg"], (fraction, kind)
