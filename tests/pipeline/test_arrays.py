"""Arrow arrays to numpy and back, against pyarrow's own conversions."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.table.arrays import (
    from_flags,
    from_numbers,
    from_texts,
    is_valid,
    repeat,
    to_flags,
    to_numbers,
    whole,
)

flags = st.lists(st.none() | st.booleans(), max_size=40)
numbers = st.lists(st.none() | st.integers(-(2**31), 2**31 - 1), max_size=40)


@given(flags, st.integers(0, 20), st.integers(0, 20))
def test_flags_of_any_slice_of_chunks(cells, start, cut):
    chunks = [cells[:cut], cells[cut:]]
    column = pa.chunked_array([pa.array(part, pa.bool_()) for part in chunks])[start:]
    assert to_flags(column).tolist() == [bool(cell) for cell in cells[start:]]
    assert is_valid(column).tolist() == [cell is not None for cell in cells[start:]]
    assert to_flags(pa.array(cells, pa.bool_())[start:]).tolist() == to_flags(column).tolist()


@pytest.mark.parametrize("kind", [pa.int32(), pa.int64(), pa.float64()])
@given(cells=numbers, start=st.integers(0, 20))
def test_numbers_of_any_slice(kind, cells, start):
    array = pa.array(cells, kind)[start:]
    known = is_valid(array)
    found = to_numbers(array)
    assert found.dtype == kind.to_pandas_dtype()
    assert found[known].tolist() == [cell for cell in cells[start:] if cell is not None]
    assert from_numbers(found, known).equals(array)


@given(st.lists(st.booleans(), max_size=40), st.lists(st.text(), max_size=20))
def test_there_and_back(bits, texts):
    assert from_flags(np.array(bits, bool)).to_pylist() == bits
    made = from_texts([text for text in texts if text.isprintable()])
    made.validate(full=True)
    assert made.to_pylist() == [text for text in texts if text.isprintable()]


def test_the_same_text_in_each_row():
    assert repeat("übersprungen", 3).to_pylist() == ["übersprungen"] * 3
    assert repeat("x", 0).equals(pa.array([], pa.string()))


def test_a_column_without_chunks_is_an_empty_array():
    column = pa.chunked_array([], pa.float64())
    assert whole(column).equals(pa.array([], pa.float64()))
    assert (to_numbers(column).tolist(), is_valid(column).tolist()) == ([], [])
