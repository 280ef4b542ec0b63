"""`winnow plan` shows what the list is taken for, before any work."""

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from rich.console import Console

from pipeline.config.load import load_job
from pipeline.inspect.preview import preview, render


def plan(folder: Path, source: Path, **values) -> dict:
    job = {"input": str(source), "output": str(folder / "runs"), "images": {"nsfw": None},
           "captions": {"toxicity": None, "language": False}, **values}  # fmt: skip
    (folder / "job.yaml").write_text(yaml.safe_dump(job))
    return preview(load_job(folder / "job.yaml"))


def shown(answer: dict, width: int = 200) -> list[str]:
    console = Console(width=width, file=io.StringIO())
    console.print(render(answer))
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_each_column_with_its_first_three_rows(tmp_path: Path):
    lines = ["URL ;TEXT;similarity;uid"]
    lines += [f"https://a.example/{i}.jpg;cat {i} of a.b@example.org;0.{i};u{i}" for i in range(5)]
    (tmp_path / "list.csv").write_text("\n".join(lines) + "\n")
    answer = plan(tmp_path, tmp_path / "list.csv")
    (entry,) = answer["input"]
    assert {k: v for k, v in entry.items() if k != "columns"} == {
        "files": 1, "first": (tmp_path / "list.csv").as_uri(), "format": "csv", "delimiter": ";",
        "header": True,
    }  # fmt: skip
    assert [(c["source"], c["column"], c["type"], c["values"][-1]) for c in entry["columns"]] == [
        ("URL", "url", "string", "https://a.example/2.jpg"),
        ("TEXT", "caption", "string", "cat 2 of •••"),
        ("similarity", "similarity", "double", 0.2),
        ("uid", "input_uid", "string", "u2"),
    ]
    text = shown(answer)
    assert text[0] == "the list: csv, list.csv, cells divided by `;`, a header line"
    assert text[2].split()[:4] == ["URL", "→", "url", "string"]
    assert text[5].startswith("uid → input_uid")
    assert not (tmp_path / "runs").exists()


def test_files_that_are_read_in_other_ways_are_shown_apart(tmp_path: Path):
    folder = tmp_path / "list"
    folder.mkdir()
    for i in range(2):
        pq.write_table(pa.table({"url": ["u"], "caption": ["c"]}), folder / f"{i}.parquet")
    (folder / "3.tsv").write_text("https://a.example/1.jpg\ta cat\n")
    answer = plan(tmp_path, folder)
    assert [(e["format"], e["files"], e.get("header")) for e in answer["input"]] == [
        ("parquet", 2, None), ("tsv", 1, False),
    ]  # fmt: skip
    assert "the list: tsv, 3.tsv, cells divided by `tab`, no header line" in shown(answer)


def test_control_characters_of_the_list_do_not_reach_the_terminal(tmp_path: Path):
    (tmp_path / "x.csv").write_text("url,caption,\x1b[31mred\nu,a \x1b[2J cat,1\n")
    answer = plan(tmp_path, tmp_path / "x.csv")
    assert "\x1b" not in "".join(shown(answer))
    assert answer["input"][0]["columns"][1]["values"] == ["a \x1b[2J cat"]


def test_several_columns_of_captions_are_named_in_their_order(tmp_path: Path):
    (tmp_path / "x.csv").write_text("url,long,short\nu,,a cat\nv,a dog,dog\n")
    answer = plan(tmp_path, tmp_path / "x.csv", columns={"caption": ["long", "short"]})
    _, caption, *others = answer["input"][0]["columns"]
    assert [other["column"] for other in others] == ["long", "short"]
    assert (caption["source"], caption["values"]) == (["long", "short"], ["a cat", "a dog"])
    assert any(line.startswith("long or short → caption") for line in shown(answer))
