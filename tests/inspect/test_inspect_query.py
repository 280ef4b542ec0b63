import io

import pyarrow as pa
import pytest
from made_run import Made
from rich.console import Console

from pipeline.inspect.query import ROWS_SHOWN, query, render
from pipeline.words.errors import InputError


def test_sql_over_samples(made: Made) -> None:
    table = query(
        made.run, "SELECT reason, count(*) AS n FROM samples WHERE reason LIKE 'low%' GROUP BY 1"
    )
    assert table.to_pylist() == [{"reason": "low_clip_score", "n": 2}]


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT clip_scor FROM samples", r'column "clip_scor" not found.*mean `clip_score`'),
        ("SELECT * FROM data", r"data does not exist.*called `samples`"),
        ("SELEC 1", r"syntax error"),
        ("SELECT 1; SELECT 2", r"one SELECT"),
        ("", r"one SELECT"),
        ("DROP VIEW samples", r"one SELECT"),
        ("COPY samples TO 'x.csv'", r"one SELECT"),
        ("WITH a AS (COPY (SELECT 1) TO 'run://shards/00000.parquet' (use_tmp_file 0)) SELECT 1",
         r"only read here"),
        ("SELECT * FROM read_csv('/etc/passwd')", r"Permission Error"),
        ("SELECT 1 / 'a'", r"Conversion Error"),
    ],
)  # fmt: skip
def test_bad_sql_is_an_input_error_of_one_line(made: Made, sql: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        query(made.run, sql)
    assert "\n" not in str(error.value)


def test_the_terminal_shows_rows_without_control_characters() -> None:
    table = pa.table({"caption": ["a \x1b[31mred [b]cat[/b]", None], "phash": [b"\x00\xff", None]})
    out = io.StringIO()
    Console(file=out, width=120).print(render(table))
    assert "\x1b" not in out.getvalue()
    assert "[b]cat[/b]" in out.getvalue()
    assert "00ff" in out.getvalue()


def test_the_terminal_shows_a_limited_number_of_rows() -> None:
    out = io.StringIO()
    Console(file=out, width=120).print(render(pa.table({"n": range(ROWS_SHOWN + 5)})))
    assert "and 5 more rows" in out.getvalue()
    assert len(out.getvalue().splitlines()) == ROWS_SHOWN + 2
