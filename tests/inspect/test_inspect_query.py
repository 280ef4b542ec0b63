import csv
import io

import pyarrow as pa
import pytest
from made_run import Made
from rich.console import Console

from pipeline.inspect.query import ROWS_SHOWN, query, render, write_delimited
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


def test_a_pipe_gets_every_row_and_cell_whole() -> None:
    long = "x" * 500
    table = pa.table({
        "caption": [long, "a\tb\nc", None], "tags": [["a", "ä"], None, []],
        "phash": [b"\x00\xff", None, None], "kept": [True, False, None],
    })  # fmt: skip
    out = io.StringIO()
    write_delimited(table, out, as_csv=False)
    assert out.getvalue().splitlines() == [
        "caption\ttags\tphash\tkept", f'{long}\t["a", "ä"]\t00ff\ttrue', "a b c\t\t\tfalse",
        "\t[]\t\t",
    ]  # fmt: skip
    many = io.StringIO()
    write_delimited(pa.table({"n": range(ROWS_SHOWN + 5)}), many, as_csv=False)
    assert len(many.getvalue().splitlines()) == ROWS_SHOWN + 6


def test_csv_is_read_back_as_it_was() -> None:
    cells = ['say "hi"', "a,b", "two\nlines", "\x1b[31m", ""]
    out = io.StringIO()
    write_delimited(pa.table({"caption": cells, "n": range(5)}), out, as_csv=True)
    header, *rows = csv.reader(io.StringIO(out.getvalue()))
    assert (header, [row[0] for row in rows]) == (["caption", "n"], cells)


def test_wide_rows_are_shown_one_below_the_other(made: Made) -> None:
    out = io.StringIO()
    table = query(made.run, "select * from samples order by uid limit 30")
    Console(file=out, width=80).print(render(table, 80))
    lines = [line.rstrip() for line in out.getvalue().splitlines()]
    assert lines[0] == "row 1"
    assert any(line.startswith("caption ") for line in lines)
    assert lines[-1].startswith("… and 10 more rows; `--json` or `--csv` prints all")
    assert max(map(len, lines)) <= 80
