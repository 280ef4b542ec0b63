"""Runs over lists whose files hold the pictures: no request, the same checks, every row counted."""

import hashlib
import io
import json
import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from lab import Lab
from stored_samples import picture, sample, write_table, write_tar

from pipeline.engine.runner import bring_up_to_date, products_of, replan
from pipeline.inspect.query import query
from pipeline.inspect.stats import stats
from pipeline.words.progress import Lines

N = 25
GATES = {"min_image_size": 32}


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: pytest.fail("a name was looked up"))


def tars(folder: Path) -> str:
    """img2dataset's layout; the hashes are those of what the web gave, as there."""
    (folder / "tars").mkdir()
    for shard in range(2):
        files = []
        for i in range(shard, N, 2):
            row = {"url": f"https://site{i % 3}.example/{i}.jpg", "caption": f"a cat no. {i}",
                   "sha256": "0" * 64, "similarity": 0.3}  # fmt: skip
            files += sample(f"{shard:05d}{i:04d}", i, row["caption"], row)
        write_tar(folder / "tars" / f"{shard:05d}.tar", files)
    return str(folder / "tars")


def table(folder: Path, first: int = 0) -> str:
    rows = [{"image": {"bytes": picture(first + i), "path": f"{i}.jpg"},
             "caption": f"a cat no. {i}"} for i in range(N)]  # fmt: skip
    return write_table(folder / "train.parquet", rows)


def pictures(folder: Path) -> str:
    (folder / "pictures").mkdir()
    for i in range(N):
        (folder / "pictures" / f"{i}.jpg").write_bytes(picture(i))
        (folder / "pictures" / f"{i}.txt").write_text(f"a cat no. {i}")
    return str(folder / "pictures")


def hashes(run) -> dict[str, str]:
    rows = query(run, "select caption, sha256 from samples").to_pylist()
    return {row["caption"]: row["sha256"] for row in rows}


EXPECTED = {f"a cat no. {i}": hashlib.sha256(picture(i)).hexdigest() for i in range(N)}


@pytest.mark.parametrize("kind", [tars, table, pictures])
def test_every_picture_is_read_and_measured(lab: Lab, kind):
    job = lab.job(input=kind(lab.folder), download=GATES)
    result = lab.run(job)
    found = stats(result.run)
    assert (found["ingested"], found["kept"], found["conserved"]) == (N, N, True)
    assert hashes(result.run) == EXPECTED
    assert result.export is not None
    exported = pq.read_table(f"{result.export.place.path()}/00000.parquet")
    assert "stored_in" not in exported.column_names
    again = lab.run(job)
    assert (again.digest, all(again.cached.values())) == (result.digest, True)


def test_an_export_goes_in_again_with_the_same_uids(lab: Lab):
    job = lab.job(input=tars(lab.folder), download=GATES)
    first = lab.run(job)
    other = Lab(lab.site, lab.folder / "again")
    other.folder.mkdir()
    second = other.run(other.job(input=first.export.place.path(), download=GATES))
    text = "select uid, url, caption from samples order by uid"
    assert query(second.run, text).equals(query(first.run, text))
    assert stats(second.run)["kept"] == N


def test_the_same_gates_hold_for_them(lab: Lab):
    path = tars(lab.folder)
    sizes = [len(picture(i)) for i in range(N)]
    small = sorted(sizes)[N // 2]
    listed = next(i for i in range(N) if sizes[i] <= small and i % 3 != 1)
    blocked = hashlib.sha256(picture(listed)).hexdigest()
    (lab.folder / "hashes.txt").write_text(f"sha256:{blocked}\n")
    (lab.folder / "domains.txt").write_text("site1.example\n")
    gates = {"blocklist": str(lab.folder / "hashes.txt"), "max_bytes": small,
             "opted_out_domains": str(lab.folder / "domains.txt")}  # fmt: skip
    found = stats(lab.run(lab.job(input=path, download=GATES | gates)).run)
    larger = [i for i in range(N) if sizes[i] > small and i % 3 != 1]
    assert found["reasons"] == {
        "opted_out_domain": len(range(1, N, 3)), "blocklisted": 1, "too_large": len(larger),
    }  # fmt: skip
    assert found["conserved"] is True


def test_bad_pictures_are_rows_with_reasons(lab: Lab):
    files = [*sample("1", 1, "whole"), ("2.txt", b"no picture"), ("3.jpg", b"\xff\xd8\xff broken"),
             ("3.txt", b"broken"), ("4.jpg", picture(4)), ("5.jpg", picture(5)),
             ("5.json", b"{"), ("5.txt", b"bad json")]  # fmt: skip
    result = lab.run(lab.job(input=write_tar(lab.folder / "x.tar", files), download=GATES))
    rows = query(result.run, "select caption, reason from samples").to_pylist()
    assert sorted((str(row["caption"])[:10], row["reason"]) for row in rows) == [
        ("None", "caption_missing"), ("broken", "decode_error"), (f"file://{lab.folder}"[:10],
         "malformed_row"), ("no picture", "file_missing"), ("whole", None),
    ]  # fmt: skip
    assert stats(result.run)["conserved"] is True


def test_a_changed_file_is_read_again_and_a_gone_one_named(lab: Lab):
    path = Path(table(lab.folder))
    job = lab.job(input=str(path), download=GATES)
    first = lab.run(job)
    table(lab.folder, first=100)
    second = lab.run(job)
    new = {f"a cat no. {i}": hashlib.sha256(picture(100 + i)).hexdigest() for i in range(N)}
    assert hashes(second.run) == new
    assert len(second.run.index.shards) == len(first.run.index.shards)
    shard = second.run.folder.names("parts")
    folder = next(name for name in shard if name.startswith("download"))
    second.run.folder.remove(f"parts/{folder}")
    # A retry reads the shards and not the list.
    path.unlink()

    plan = replan(second.run)
    bring_up_to_date(plan, products_of(plan), Lines(io.StringIO()))
    assert stats(second.run)["reasons"] == {"file_missing": N}


@pytest.mark.parametrize("kind", [tars, table, pictures])
def test_a_file_that_changed_since_its_list_was_read_gives_no_other_picture(lab: Lab, kind):
    place = Path(kind(lab.folder))
    first = lab.run(lab.job(input=str(place), download=GATES))
    for path in [place] if place.is_file() else sorted(place.iterdir()):
        if path.suffix in (".parquet", ".tar", ".jpg"):
            os.utime(path, (1, 1))
    plan = replan(first.run)
    folder = plan.by_name["download"].folder
    first.run.folder.remove(folder)
    bring_up_to_date(plan, products_of(plan), Lines(io.StringIO()))
    rows = query(first.run, "select reason, error_message from samples").to_pylist()
    assert {row["reason"] for row in rows} == {"file_missing"}
    assert all("changed since" in row["error_message"] for row in rows)


@pytest.mark.parametrize(
    "url", ["//site1.example/a.jpg", "site1.example/a.jpg", "https://site1.example/" + "a" * 9_000]
)
def test_an_opted_out_domain_counts_however_its_url_is_written(lab: Lab, url: str):
    (lab.folder / "domains.txt").write_text("site1.example\n")
    path = write_tar(lab.folder / "x.tar", sample("1", 1, "a cat", {"url": url}))
    gates = GATES | {"opted_out_domains": str(lab.folder / "domains.txt")}
    found = stats(lab.run(lab.job(input=path, download=gates)).run)
    assert found["reasons"] == {"opted_out_domain": 1}


def test_a_table_is_read_in_few_passes_whatever_the_shards(lab: Lab, monkeypatch):
    """Rows are dealt in the list's order, so each row group is wanted by one or two shards."""
    from pyarrow.parquet import ParquetFile

    read: list[int] = []
    original = ParquetFile.iter_batches

    def noting(self, batch_size=65536, row_groups=None, columns=None, **kwargs):
        if columns == ["image.bytes"]:
            read.extend(row_groups)
        return original(self, batch_size, row_groups, columns, **kwargs)

    monkeypatch.setattr(ParquetFile, "iter_batches", noting)
    lab.run(lab.job(input=table(lab.folder), download=GATES))
    groups = -(-N // 3)
    assert set(read) == set(range(groups))
    assert len(read) <= groups + 2  # those at the borders of the three shards are read twice


def test_a_run_over_web_and_stored_rows(lab: Lab, monkeypatch):
    monkeypatch.undo()
    web = lab.write(lab.site.rows[:5], "web.parquet")
    job = lab.job(input=[str(web), tars(lab.folder)], download=GATES)
    result = lab.run(job)
    found = stats(result.run)
    assert (found["ingested"], found["kept"], found["conserved"]) == (N + 5, N + 5, True)
    places = query(result.run, "select count(stored_in) as n from samples").to_pylist()
    assert places == [{"n": N}]


def test_plan_shows_what_becomes_what(lab: Lab):
    job = lab.job(input=tars(lab.folder), download=GATES)
    shown = json.loads(lab.winnow("plan", str(job), "--json").stdout)
    (entry,) = shown["input"]
    assert (entry["format"], entry["files"]) == ("webdataset", 2)
    columns = {one["column"]: one["source"] for one in entry["columns"]}
    assert columns["caption"] == ["txt", "caption"]
    assert (columns["url"], columns["stored_in"]) == ("url", None)
    assert "\0" not in lab.winnow("plan", str(job)).stdout
