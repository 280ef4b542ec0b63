import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.inspect.rules import columns_in, thresholds_in

COLUMNS = ("clip_score", "a b", "toxicity", "x", "caption", "language")


@pytest.mark.parametrize(
    ("sql", "columns", "thresholds"),
    [
        ("clip_score < 0.2", ["clip_score"], ["clip_score < 0.2"]),
        ("0.5 <= toxicity", ["toxicity"], ["toxicity >= 0.5"]),
        ("x BETWEEN -1 AND -.5", ["x"], ["x >= -1", "x <= -0.5"]),
        (
            '"a b" > 3 OR TOXICITY>=1e-3 -- x < 9',
            ["a b", "toxicity"],
            ["a b > 3", "toxicity >= 0.001"],
        ),
        ("length(caption) < 5 OR 2 * x < 5", ["caption", "x"], []),
        ("x < 5 * toxicity", ["x", "toxicity"], []),
        ("x - 1 < 3 AND 1 - x < 3", ["x"], []),
        ("language <> 'en' AND caption = 'x < 3'", ["language", "caption"], []),
        ("'é' < caption AND x <-  2", ["caption", "x"], ["x < -2"]),
    ],
)
def test_columns_and_thresholds(sql: str, columns: list[str], thresholds: list[str]) -> None:
    assert list(columns_in(sql, COLUMNS)) == columns
    assert [str(threshold) for threshold in thresholds_in(sql, COLUMNS)] == thresholds


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from(["<", "<=", ">", ">="]),
    st.floats(-1e6, 1e6, allow_nan=False).map(lambda value: float(f"{value:.6g}")),
    st.booleans(),
)
def test_a_parsed_threshold_selects_the_same_rows_as_the_database(
    op: str, value: float, turned: bool
) -> None:
    mirror = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
    sql = f"{value!r} {mirror[op]} x" if turned else f"x {op} {value!r}"
    (found,) = thresholds_in(sql, COLUMNS)
    assert (found.op, found.value) == (op, value)
    with duckdb.connect() as db:
        for x in (value - 1, value, value + 1):
            answer = db.execute(f"SELECT {sql} FROM (SELECT ?::DOUBLE AS x)", [x]).fetchone()
            mine = {"<": x < value, "<=": x <= value, ">": x > value, ">=": x >= value}[op]
            assert answer == (mine,)


COMPARISON = st.tuples(
    st.sampled_from(["x", "X", '"a b"', '"A B"', "toxicity", "caption", "zzz"]),
    st.sampled_from(["<", "<=", ">", ">=", "between", "+"]),
    st.sampled_from(["1", "-2.5", "1e3", "0.1 and 2", "'1'", "x"]),
).map(" ".join)
NOISE = st.sampled_from(["and", "or", "not", "(", ")", "-", "--", "''"]) | st.text(max_size=9)


@settings(deadline=None, max_examples=100)
@given(st.lists(COMPARISON | NOISE, max_size=6).map(" ".join))
def test_any_text_can_be_parsed_without_an_error(sql: str) -> None:
    columns = columns_in(sql, COLUMNS)
    assert set(columns) <= set(COLUMNS)
    for found in thresholds_in(sql, COLUMNS):
        assert found.column in columns
        plain = f'"{found.column}" {found.op} {found.value!r}'
        assert thresholds_in(plain, COLUMNS) == (found,)
