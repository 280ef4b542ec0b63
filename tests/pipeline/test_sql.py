"""Rules as SQL: the columns they read, their results, and the expressions that are refused."""

from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.table.sql import columns_of, connect, evaluate
from pipeline.words.errors import InputError

SCHEMA = {
    "uid": pa.string(), "caption": pa.string(), "language": pa.string(), "words": pa.int32(),
    "clip_score": pa.float32(), "clip": pa.float32(), "a b": pa.int32(), "Forum": pa.string(),
    "phash": pa.binary(32), "when": pa.timestamp("us"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("expression", "columns"),
    [
        ("clip_score < 0.2", ["clip_score"]),
        ("CLIP_SCORE < 0.2 and forum = 'x'", ["clip_score", "Forum"]),
        ('"a b" > 1 or clip > 0', ["clip", "a b"]),
        ("caption = 'clip_score'", ["caption"]),
        ("words > 3 -- and clip_score < 1", ["words"]),
        ("words > /* select */ 3", ["words"]),
        ("caption like '%select%' or language in ('en', 'de')", ["caption", "language"]),
        ("samples.words > 3", ["words"]),
        ("len(list_filter([1, 2], lambda x: x > words)) > 1", ["words"]),
        ("\"when\" > timestamp '2020-01-01'", ["when"]),
        ("case when words > 3 then clip_score < 0.1 end", ["words", "clip_score"]),
        ("hash(uid) % 100 < 10", ["uid"]),
        ("phash is null", ["phash"]),
        ("true", []),
    ],
)
def test_the_columns_that_a_rule_reads(expression: str, columns: list[str]):
    assert columns_of(expression, SCHEMA, "rules[0].when") == tuple(columns)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("clip_scor < 1", "makes the column `clip_scor`; did you mean `clip_score`?"),
        ("zzzz > 1", "makes the column `zzzz`; there are uid, caption"),
        ("words", "`words` is INTEGER, not a boolean"),
        ("words >", "syntax error"),
        ("words > 1), (words < 2", "expected one SQL expression"),
        ("true) from samples where (true", "expected one SQL expression"),
        ("words > 1; drop table samples", "syntax error"),
        ("sum(words) > 1", "no aggregate"),
        ("row_number() over () > 1", "no OVER"),
        ("words > (select 1)", "no SELECT"),
        ("words > (values (1))", "no SELECT"),
        ("words in (table samples)", "no SELECT"),
        ("caption = E'\\'' or (select 1) = 1 or caption = ''", "no SELECT"),
        ("columns(*) > 1", "no `*` and no COLUMNS"),
        ("words > ?", "no parameters"),
        ("random() < 0.5", "`random` gives another value every time"),
        ('"when" < now()', "`now` gives another value every time"),
        ('"when" < current_date', "`current_date` gives another value every time"),
        ("current_setting('threads') = '1'", "`current_setting` gives another value"),
        ("samples is null", "name the columns"),
        ("regexp_matches(caption, '(')", "missing )"),
        ("", "this is empty"),
    ],
)
def test_sql_that_is_not_a_rule_is_refused_with_its_reason(expression: str, expected: str):
    with pytest.raises(InputError) as error:
        columns_of(expression, SCHEMA, "rules[3].when")
    assert str(error.value).startswith("rules[3].when: ")
    assert expected in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("SELECT * FROM read_csv('{}/a.csv')", "disabled by configuration"),
        ("SELECT * FROM '{}/a.csv'", "disabled by configuration|a.csv does not exist"),
        ("COPY (SELECT 1) TO '{}/leak.csv'", "disabled by configuration"),
        ("ATTACH '{}/other.db'", "disabled by configuration"),
        ("SET threads = 2", "configuration has been locked"),
        ("INSTALL httpfs", "disabled by configuration"),
        ("LOAD httpfs", "external extensions is disabled"),
    ],
)
def test_the_database_cannot_read_or_write_files(tmp_path: Path, query: str, expected: str):
    (tmp_path / "a.csv").write_text("x\n1\n")
    statement = query.format(tmp_path)
    with connect() as db, pytest.raises(duckdb.Error, match=expected):
        db.execute(statement)
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]
    if "httpfs" not in query:  # the network would be needed to test this one
        with duckdb.connect() as db:
            db.execute(statement)


def test_answers_are_true_false_and_unknown_in_row_order():
    table = pa.table({"a": pa.array([1, None, 3] * 5_000), "b": ["x", "y", None] * 5_000})
    over, is_x, never = evaluate(table, ["a > 2", "b = 'x'", "false"])
    assert over.tolist() == [0, -1, 1] * 5_000
    assert is_x.tolist() == [1, 0, -1] * 5_000
    assert not never.any()
    assert over.dtype == np.int8


def test_no_rules_and_no_rows():
    assert evaluate(pa.table({"a": [1]}), []) == []
    (answer,) = evaluate(pa.table({"a": pa.array([], pa.int32())}), ["a > 1"])
    assert answer.shape == (0,)


def test_a_rule_that_fails_on_a_row_is_named():
    table = pa.table({"caption": ["1", "one"]})
    with pytest.raises(InputError, match=r"`caption::int > 3` fails on a row: .* try_cast"):
        evaluate(table, ["caption is null", "caption::int > 3"])


def test_a_comment_at_the_end_of_a_rule_is_allowed():
    (answer,) = evaluate(pa.table({"a": [1, 5]}), ["a > 2 -- large"])
    assert answer.tolist() == [0, 1]


NUMBERS = st.none() | st.floats(allow_nan=False, width=32)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(NUMBERS, NUMBERS), max_size=20), st.floats(-9, 9, width=16))
def test_any_comparison_gives_the_result_of_sql(rows, line):
    """Three-valued logic: unknown AND false is false, unknown OR true is true."""
    a, b = (pa.array([row[i] for row in rows], pa.float32()) for i in (0, 1))
    table = pa.table({"a": a, "b": b})
    both, either = evaluate(table, [f"a > {line} and b > {line}", f"a > {line} or b > {line}"])

    def over(value):
        return None if value is None else value > line

    for (x, y), got_both, got_either in zip(rows, both, either, strict=True):
        known = [over(value) for value in (x, y)]
        due_both = False if False in known else None if None in known else True
        due_either = True if True in known else None if None in known else False
        assert {1: True, 0: False, -1: None}[int(got_both)] is due_both
        assert {1: True, 0: False, -1: None}[int(got_either)] is due_either


def test_a_column_named_like_the_order_column_is_not_mistaken_for_it():
    columns = {
        name: ["c", "b", "a"] for name in ("place", "PLACE_", "_winnow_order", "v0", "samples")
    }
    rules = [f"\"{name}\" = 'a'" for name in columns]
    for verdict in evaluate(pa.table(columns), rules):
        assert verdict.tolist() == [0, 0, 1]
