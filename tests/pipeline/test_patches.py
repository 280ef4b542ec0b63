"""Parts made again for a few rows, and their tars."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from planned_run import write_tar

from pipeline.engine.patches import patched_array, patched_table
from pipeline.measure.download import fetch_summary
from pipeline.table import tars
from pipeline.table.tars import members, merge_rows
from pipeline.words.errors import PartError

OLD = pa.table({"uid": ["a", "b", "c"], "n": pa.array([1, 2, None], pa.int32())})


def test_only_the_patched_rows_are_replaced():
    new = pa.table({"n": pa.array([None, 20, 30], pa.int64()), "uid": ["a", "b", "c"]})
    found = patched_table(OLD, new, [2])
    assert found.schema == OLD.schema
    assert found.to_pylist() == [
        {"uid": "a", "n": 1}, {"uid": "b", "n": 2}, {"uid": "c", "n": 30},
    ]  # fmt: skip
    assert patched_table(OLD, new, []).equals(OLD)


@pytest.mark.parametrize("new", [OLD.slice(1), OLD.rename_columns(["uid", "m"])])
def test_a_patch_of_another_shape_is_refused(new):
    with pytest.raises(PartError, match="does not fit"):
        patched_table(OLD, new, [1])


@pytest.mark.parametrize("width", [(2, 2), (0, 2), (2, 0), (0, 0)])
def test_vectors_are_patched_even_if_one_array_has_no_width(width):
    old = np.full((3, width[0]), 1, np.float16)
    new = np.full((3, width[1]), 2, np.float16)
    found = patched_array(old, new, [1])
    assert (found.dtype, found.shape) == (np.float16, (3, max(width)))
    if max(width):
        expected = [1.0 if width[0] else 0.0, 2.0 if width[1] else 0.0, 1.0 if width[0] else 0.0]
        assert found[:, 0].tolist() == expected


def test_vectors_of_another_width_are_refused():
    with pytest.raises(PartError, match="vectors of width 3 do not fit those of 2"):
        patched_array(np.zeros((3, 2)), np.zeros((3, 3)), [1])


def test_tars_are_merged_in_row_order(tmp_path: Path):
    old = write_tar(tmp_path / "old.tar", {0: b"a", 2: b"c", 5: b"f"})
    new = write_tar(tmp_path / "new.tar", {1: b"B", 5: b"F"})
    merge_rows(old, new, [1, 2, 5], tmp_path / "both.tar")
    assert list(members(tmp_path / "both.tar")) == [
        ("000000.jpg", b"a"), ("000001.jpg", b"B"), ("000005.jpg", b"F"),
    ]  # fmt: skip
    whole = [("000000.jpg", b"a"), ("000001.jpg", b"B"), ("000005.jpg", b"F")]
    tars.write_tar(tmp_path / "whole.tar", whole, sums=True)
    assert (tmp_path / "both.tar").read_bytes() == (tmp_path / "whole.tar").read_bytes()


def test_a_summary_is_counted_from_the_patched_table():
    table = pa.table(
        {
            "status": ["success", "failed", "invalid", "failed"],
            "fetch_reason": [None, "timeout", None, "timeout"],
            "bytes": [5, None, None, 7],
        }
    )
    assert fetch_summary(table) == {
        "success": 1, "failed": 2, "skipped": 0, "invalid": 1, "reasons": {"timeout": 2},
        "bytes": 12,
    }  # fmt: skip
