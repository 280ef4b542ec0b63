"""Damaged download parts: what is whole of them is not fetched again."""

import io
import json
import tarfile

import pyarrow.parquet as pq
import pytest
from test_verify import DAMAGE, check, flip_a_picture, moved, sound  # noqa: F401 - fixtures

from pipeline.config.load import load_job
from pipeline.engine.runner import execute, prepare, replan
from pipeline.engine.salvage import salvage
from pipeline.inspect.stats import stats
from pipeline.table.part import read_sidecar
from pipeline.table.tars import members, whole_members, write_tar
from pipeline.words.progress import Lines

SHARD = "00001"


@pytest.fixture
def part(moved):  # noqa: F811
    """One download part of a finished run: its folder, and how many pictures it holds."""
    _, folder, _ = moved
    (tar,) = folder.glob(f"parts/download-*/{SHARD}.tar")
    return tar.parent, len(list(members(tar)))


def again(folder, sound, tmp_path):  # noqa: F811
    """The run's own job once more, as a user would start it."""
    job = load_job(sound[0].folder / "job.yaml", [f"output={folder.parent}", "name=job"])
    with (tmp_path / "said.txt").open("w") as stream:
        return execute(prepare(job), None, Lines(stream))


def served(folder):
    """The paths of the shard's pictures, by row."""
    (table,) = folder.glob(f"shards/{SHARD}.parquet")
    return ["/" + url.rsplit("/", 1)[1] for url in pq.read_table(table)["url"].to_pylist()]


def one_row_is_fetched_again(moved, row, tmp_path, asked):  # noqa: F811
    """verify names this row alone, and mending asks for its picture and for no other."""
    run, folder, digest = moved
    (uid,) = run.shard(int(SHARD), ["uid"])["uid"].to_pylist()[row : row + 1]
    (damage,) = check(run, tmp_path)[1]["damaged"]
    assert damage["uids"] == (uid,)
    result, answer = check(run, tmp_path, mend=True)
    assert asked == [served(folder)[row]]
    assert (result.digest, answer["mended"]) == (digest, True)


@pytest.mark.parametrize("which", [0, 3, -1])
def test_a_flipped_picture_alone_is_fetched_again(which, part, moved, tmp_path, asked):  # noqa: F811
    tar = part[0] / f"{SHARD}.tar"
    name = flip_a_picture(tar, which)

    one_row_is_fetched_again(moved, int(name.split(".")[0]), tmp_path, asked)
    assert stats(moved[0])["kept"] == 36


def flip_in_headers(tar, *which):
    """Change a byte in the headers of these members; their rows."""
    with tarfile.open(tar) as handle:
        found = [handle.getmembers()[number] for number in which]
    data = bytearray(tar.read_bytes())
    for info in found:
        data[info.offset + 5] ^= 1
    tar.write_bytes(data)
    return [int(info.name.split(".")[0]) for info in found]


@pytest.mark.parametrize("which", [0, 4, -2, -1])
def test_behind_a_damaged_header_all_pictures_are_kept(which, part, moved, tmp_path, asked):  # noqa: F811
    tar = part[0] / f"{SHARD}.tar"
    (row,) = flip_in_headers(tar, which)

    one_row_is_fetched_again(moved, row, tmp_path, asked)


def test_of_several_damaged_headers_what_is_between_is_fetched_again(
    part,
    moved,  # noqa: F811
    tmp_path,
    asked,
):
    run, folder, digest = moved
    tar = part[0] / f"{SHARD}.tar"
    first, last = flip_in_headers(tar, 2, -3)

    result, _ = check(run, tmp_path, mend=True)

    between = {path for path in served(folder)[first : last + 1] if "gone" not in path}
    assert (set(asked), len(asked)) == (between, part[1] - 2 - 2)
    assert result.digest == digest


def test_a_part_is_looked_at_once_however_many_of_its_files_are_damaged(
    part,
    moved,  # noqa: F811
    tmp_path,
    monkeypatch,
):
    run, _, digest = moved
    for path in (part[0] / f"{SHARD}.tar", part[0] / f"{SHARD}.parquet"):
        path.write_bytes(DAMAGE["flipped"](path.read_bytes()))
    looked = []
    monkeypatch.setattr(
        "pipeline.lifecycle.mend.salvage",
        lambda plan, node, shard: looked.append(shard) or salvage(plan, node, shard),
    )

    result, answer = check(run, tmp_path, mend=True)

    assert looked == [int(SHARD)]
    assert (result.digest, answer["left"]) == (digest, [])


def test_of_a_cut_tar_the_pictures_before_the_cut_stay(part, moved, tmp_path, asked):  # noqa: F811
    run, _, digest = moved
    tar = part[0] / f"{SHARD}.tar"
    tar.write_bytes(DAMAGE["cut"](tar.read_bytes()))
    left = len(list(whole_members(tar)))
    assert 0 < left < part[1]

    result, _ = check(run, tmp_path, mend=True)

    assert len(asked) == part[1] - left
    assert result.digest == digest


def test_rows_that_failed_are_not_asked_again_for_a_lost_tar(part, moved, tmp_path, asked):  # noqa: F811
    run, _, digest = moved
    before = stats(run)["reasons"]
    for tar in part[0].glob("*.tar"):
        tar.unlink()

    result, _ = check(run, tmp_path, mend=True)

    assert len(asked) == 37
    assert not any("gone" in path for path in asked)
    assert result.digest == digest
    assert stats(run)["reasons"] == before


@pytest.mark.parametrize("how", list(DAMAGE))
@pytest.mark.parametrize("command", ["run", "verify --mend"])
def test_a_damaged_record_costs_no_request(
    command,
    how,
    part,
    moved,  # noqa: F811
    sound,  # noqa: F811
    tmp_path,
    asked,
):
    """Later parts tell by the digest they were made from that the data is whole."""
    run, folder, digest = moved
    record = part[0] / f"{SHARD}.json"
    damaged = DAMAGE[how](record.read_bytes())
    record.unlink() if damaged is None else record.write_bytes(damaged)

    if command == "run":
        result = again(folder, sound, tmp_path)
    else:
        result, _ = check(run, tmp_path, mend=True)

    assert asked == []
    assert result.digest == digest
    assert result.cached["dedup"]
    assert read_sidecar(run.folder.sub(f"parts/{part[0].name}"), SHARD).asked is None


def test_data_that_nothing_vouches_for_is_fetched_again(part, moved, sound, tmp_path, asked):  # noqa: F811
    _, folder, digest = moved
    record, table = part[0] / f"{SHARD}.json", part[0] / f"{SHARD}.parquet"
    record.unlink()
    table.write_bytes(DAMAGE["flipped"](table.read_bytes()))

    result = again(folder, sound, tmp_path)

    assert len(asked) == 10
    assert result.digest == digest


def test_a_damaged_table_and_tar_are_fetched_again(part, moved, tmp_path, asked):  # noqa: F811
    run, _, digest = moved
    for path in (part[0] / f"{SHARD}.tar", part[0] / f"{SHARD}.parquet"):
        path.write_bytes(DAMAGE["flipped"](path.read_bytes()))

    result, _ = check(run, tmp_path, mend=True)

    assert len(asked) == 10
    assert result.digest == digest


def test_a_run_killed_after_the_salvage_fetches_the_lost_rows(
    part,
    moved,  # noqa: F811
    sound,  # noqa: F811
    tmp_path,
    asked,
):
    run, folder, digest = moved
    tar = part[0] / f"{SHARD}.tar"
    tar.write_bytes(DAMAGE["cut"](tar.read_bytes()))
    left = len(list(whole_members(tar)))
    plan = replan(run)
    record = salvage(plan, plan.by_name["download"], int(SHARD))
    assert record is not None
    assert record.summary["success"] == left
    gates = {"allow_addresses": ["127.0.0.1/32"]}
    assert record.policy == {"gates": gates, "salvaged": part[1] - left}

    result = again(folder, sound, tmp_path)

    assert len(asked) == part[1] - left
    assert result.digest == digest
    found = json.loads((part[0] / f"{SHARD}.json").read_text())
    assert found["policy"] == {"gates": gates}


def test_a_picture_that_looks_like_members_is_no_place_to_look_for_them(tmp_path):
    """Its own header damaged, a search would find what its author put into it."""
    inner = tmp_path / "inner.tar"
    write_tar(inner, [("000005.jpg", b"theirs")], sums=True)
    tar = tmp_path / "00000.tar"
    write_tar(tar, [("000001.jpg", b"one"), ("000002.jpg", inner.read_bytes()),
                    ("000005.jpg", b"five")], sums=True)  # fmt: skip
    assert [name for name, _ in whole_members(tar)] == ["000001.jpg", "000002.jpg", "000005.jpg"]
    data = bytearray(tar.read_bytes())
    data[2 * 512 + 5] ^= 1  # in the name of the second member

    tar.write_bytes(data)

    assert list(whole_members(tar)) == [("000001.jpg", b"one")]
    # Where the rows are known, what follows the members in the picture tells that it is none.
    whole = [("000001.jpg", b"one"), ("000005.jpg", b"five")]
    assert list(whole_members(tar, [1, 2, 5])) == whole


def test_the_checksums_in_headers_are_read_by_others_as_the_owners_name(tmp_path):
    tar = tmp_path / "00000.tar"
    write_tar(tar, [("000001.jpg", b"one")], sums=True)

    with tarfile.open(fileobj=io.BytesIO(tar.read_bytes())) as handle:
        (info,) = handle.getmembers()
    assert (info.uname, info.mtime) == ("crc32:7a6c86f1", 0)
