"""Lists whose files hold the pictures: WebDataset's tars, Parquet with bytes, folders."""

import json
import os
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lists import listing, read, seen
from stored_samples import picture, sample, write_table, write_tar

from pipeline.ingest.samples import ADDRESS
from pipeline.table.stored import (
    INTERNAL,
    STORED,
    InFolder,
    InTable,
    InTar,
    Nowhere,
    parse_stored,
)
from pipeline.words.errors import InputError


def bytes_of(row: dict) -> bytes:
    place = parse_stored(row[STORED])
    assert isinstance(place, InTar)
    data = Path(place.file.removeprefix("file://")).read_bytes()
    return data[place.offset : place.offset + place.size]


def row(i: int, **more) -> dict:
    return {
        "url": f"https://a.example/{i}.jpg",
        "caption": f"cat {i}",
        "similarity": i / 10,
        **more,
    }


def test_img2datasets_tars_give_their_rows_with_the_places_of_the_pictures(tmp_path: Path):
    for shard in range(2):
        files = [f for i in range(3) for f in sample(f"{shard}{i}", i, f"cat {i}", row(i, w=shard))]
        write_tar(tmp_path / f"{shard:05d}.tar", files)
        # What img2dataset writes beside them says the same.
        pq.write_table(
            pa.table({"url": ["x"], "caption": ["y"]}), tmp_path / f"{shard:05d}.parquet"
        )
        (tmp_path / f"{shard:05d}_stats.json").write_text('{"count": 3}')
    found = listing(str(tmp_path))
    assert [source.format for source in found.sources] == ["webdataset"] * 2
    rows = read(found)
    assert seen(rows) == [(f"https://a.example/{i}.jpg", f"cat {i}", None) for i in range(3)] * 2
    assert [bytes_of(one) for one in rows] == [picture(i) for i in range(3)] * 2
    assert {name: str(kind) for name, (_, kind) in found.passthrough.items()} == {
        STORED: "string", "similarity": "double", "w": "int64",
    }  # fmt: skip


def test_a_tar_without_json_has_addresses_of_its_own(tmp_path: Path):
    path = write_tar(tmp_path / "x.tar", [*sample("a/1", 1, "one\n"), *sample("a/2", 2, "two")])
    rows = read(listing(path))
    assert seen(rows) == [
        (f"file://{path}#a/1.jpg", "one", None), (f"file://{path}#a/2.jpg", "two", None),
    ]  # fmt: skip
    assert len({one["uid"] for one in rows}) == 2


def test_a_caption_of_the_json_that_is_another_one_is_kept_beside_the_text(tmp_path: Path):
    files = sample("1", 1, "from the txt", {"caption": "from the json"})
    found = listing(write_tar(tmp_path / "x.tar", files))
    (one,) = read(found)
    assert (one["caption"], one["input_caption"]) == ("from the txt", "from the json")
    found = listing(write_tar(tmp_path / "y.tar", files), columns={"caption": "caption"})
    assert read(found)[0]["caption"] == "from the json"


def test_odd_samples_are_rows_with_reasons(tmp_path: Path):
    files = [
        *sample("1", 1, "whole"),
        ("2.txt", b"no picture"),
        ("3.jpg", picture(3)), ("3.json", b"{broken"),
        ("4.jpg", picture(4)),
        ("5.png", picture(5, ".png")), ("5.jpg", picture(5)), ("5.txt", b"two pictures"),
        ("6.JPG", picture(6)), ("6.TXT", b"\xff upper case"),
        ("__meta__.json", b"{}"), (".hidden.jpg", b"x"),
        ("7.depth.png", picture(7, ".png")), ("7.npy", b"x"), ("7.txt", b"only a depth map"),
    ]  # fmt: skip
    rows = read(listing(write_tar(tmp_path / "x.tar", files)))
    assert [(one["caption"], one["input_error"]) for one in rows if one["url"]] == [
        ("whole", None), ("no picture", None), (None, "caption_missing"), ("two pictures", None),
        ("\ufffd upper case", "invalid_utf8"), ("only a depth map", None),
    ]  # fmt: skip
    (broken,) = (one for one in rows if not one["url"])
    assert broken["input_error"] == "malformed_row"
    assert "x.tar#3" in broken["caption"]
    by_caption = {one["caption"]: one for one in rows}
    assert isinstance(parse_stored(by_caption["no picture"][STORED]), Nowhere)
    assert bytes_of(by_caption["two pictures"]) == picture(5)
    assert bytes_of(by_caption["only a depth map"]) == picture(7, ".png")


def test_tars_that_were_appended_to_each_other_give_the_rows_of_both(tmp_path: Path):
    a = write_tar(tmp_path / "a.tar", sample("1", 1, "one"))
    b = write_tar(tmp_path / "b.tar", sample("2", 2, "two"))
    both = tmp_path / "c.tar"
    both.write_bytes(Path(a).read_bytes() + Path(b).read_bytes())
    rows = read(listing(str(both)))
    assert [one["caption"] for one in rows] == ["one", "two"]
    assert [bytes_of(one) for one in rows] == [picture(1), picture(2)]


@pytest.mark.parametrize("damage", ["cut in a picture", "cut in a header", "overwritten header"])
def test_a_damaged_tar_ends_in_one_line_and_loses_no_row_silently(tmp_path: Path, damage: str):
    files = [f for i in range(5) for f in sample(str(i), i, f"cat {i}")]
    path = Path(write_tar(tmp_path / "x.tar", files))
    with tarfile.open(path) as tar:
        member = tar.getmember("3.jpg")
    data = bytearray(path.read_bytes())
    if damage == "cut in a picture":
        data = data[: member.offset_data + 100]
    elif damage == "cut in a header":
        data = data[: member.offset + 100]
    else:
        data[member.offset : member.offset + 512] = b"x" * 512
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"x\.tar is no whole tar"):
        read(listing(str(path)))


@pytest.mark.parametrize("size", [1 << 70, 1 << 40, -512, -1])
def test_a_header_with_an_impossible_size_ends_in_one_line(tmp_path: Path, size: int):
    path = Path(write_tar(tmp_path / "x.tar", [*sample("1", 1, "one"), *sample("2", 2, "two")]))
    with tarfile.open(path) as tar:
        member = tar.getmember("2.jpg")
    data = bytearray(path.read_bytes())
    header = bytearray(data[member.offset : member.offset + 512])
    header[124:136] = tarfile.itn(size, 12, tarfile.GNU_FORMAT)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    data[member.offset : member.offset + 512] = header
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"x\.tar is no whole tar"):
        read(listing(str(path)))


def test_samples_of_the_same_key_are_different_pictures(tmp_path: Path):
    files = [*sample("1", 1, "same"), *sample("1", 2, "same")]
    rows = read(listing(write_tar(tmp_path / "x.tar", files)))
    assert len({one["uid"] for one in rows}) == 2
    assert [bytes_of(one) for one in rows] == [picture(1), picture(2)]


def test_a_compressed_tar_is_refused_in_one_line(tmp_path: Path):
    for name in ("x.tar.gz", "x.tgz"):
        with tarfile.open(tmp_path / name, "w:gz"):
            pass
        with pytest.raises(InputError, match="is compressed; unpack it"):
            listing(str(tmp_path / name))


def test_a_tar_without_samples_is_skipped(tmp_path: Path):
    write_tar(tmp_path / "0.tar", [])
    write_tar(tmp_path / "1.tar", sample("1", 1, "one"))
    assert [one["caption"] for one in read(listing(str(tmp_path)))] == ["one"]


def test_parquet_with_the_pictures_bytes(tmp_path: Path):
    rows = [{"image": {"bytes": picture(i), "path": f"{i}.jpg"}, "text": f"cat {i}", "label": i}
            for i in range(7)]  # fmt: skip
    path = write_table(tmp_path / "train.parquet", rows)
    found = listing(path)
    assert found.sources[0].picture == "image.bytes"
    got = read(found)
    assert seen(got) == [(f"file://{path}#{i}", f"cat {i}", None) for i in range(7)]
    assert [(one["label"], one["image_path"]) for one in got] == [(i, f"{i}.jpg") for i in range(7)]
    places = [parse_stored(one[STORED]) for one in got]
    assert [(p.column, p.row) for p in places] == [("image.bytes", i) for i in range(7)]


def test_a_plain_column_of_bytes_is_taken_if_it_holds_pictures(tmp_path: Path):
    def of(name: str, cells: list[bytes], **values):
        table = pa.table({name: cells, "caption": ["a cat"], "url": ["https://a.example/1.jpg"]})
        pq.write_table(table, tmp_path / "x.parquet")
        return listing(str(tmp_path / "x.parquet"), **values)

    assert of("jpg", [picture(1)]).sources[0].picture == "jpg"
    assert read(of("jpg", [picture(1)]))[0]["url"] == "https://a.example/1.jpg"
    # Some writers do not mark text as text.
    assert of("image", [b"https://a.example/1.jpg"]).sources[0].picture == ""
    assert of("blob", [picture(1)]).sources[0].picture == ""
    assert of("blob", [picture(1)], columns={"image": "blob"}).sources[0].picture == "blob"
    with pytest.raises(InputError, match=r"no column `pic` of bytes \(`columns.image`\)"):
        of("blob", [picture(1)], columns={"image": "pic"})


def test_sounds_and_masks_beside_the_picture_are_not_read(tmp_path: Path):
    file = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({
        "audio": pa.array([{"bytes": b"x" * 100, "path": "a"}], file),
        "image": pa.array([{"bytes": picture(1), "path": "b"}], file),
        "text": ["a cat"],
    })  # fmt: skip
    note = {"info": {"features": {"audio": {"_type": "Audio"}, "image": {"_type": "Image"},
                                  "text": {"_type": "Value"}}}}  # fmt: skip
    table = table.replace_schema_metadata({"huggingface": json.dumps(note)})
    pq.write_table(table, tmp_path / "x.parquet")
    found = listing(str(tmp_path / "x.parquet"))
    assert found.sources[0].picture == "image.bytes"
    assert [*found.passthrough] == [STORED, "image_path"]


def test_plain_columns_of_files_and_lists_of_files_are_not_read(tmp_path: Path):
    file = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({
        "image": pa.array([{"bytes": picture(1), "path": "b"}], file),
        "mask": [picture(2)], "note": [b"plain text"], "text": ["a cat"],
        "views": pa.array([[{"bytes": picture(3), "path": "c"}]], pa.list_(file)),
    })  # fmt: skip
    pq.write_table(table, tmp_path / "x.parquet")
    (one,) = read(listing(str(tmp_path / "x.parquet")))
    assert one["note"] == "plain text"
    assert not {"mask", "views"} & one.keys()


def test_captions_that_the_job_names_stay_columns(tmp_path: Path):
    rows = [{"image": {"bytes": picture(1), "path": None}, "caption": "a", "alt_text": "b"}]
    path = write_table(tmp_path / "x.parquet", rows)
    (one,) = read(listing(path, columns={"caption": ["caption", "alt_text"]}))
    assert (one["caption"], one["alt_text"]) == ("a", "b")


def test_captions_that_the_job_names_stay_columns_of_a_tar_too(tmp_path: Path):
    path = write_tar(tmp_path / "x.tar", sample("1", 1, "a", {"alt": "b"}))
    (one,) = read(listing(path, columns={"caption": ["txt", "alt"]}))
    assert (one["caption"], one["alt"]) == ("a", "b")


def test_a_name_with_a_dot_and_cells_that_are_empty_or_broken(tmp_path: Path):
    cells = [None] * 30 + [b"broken", picture(1), picture(2)]
    table = pa.table({"my.image": cells, "jpg": cells, "caption": ["a cat"] * 33})
    pq.write_table(table, tmp_path / "x.parquet")
    assert listing(str(tmp_path / "x.parquet")).sources[0].picture == "jpg"
    found = listing(str(tmp_path / "x.parquet"), columns={"image": "my.image"})
    assert found.sources[0].picture == "my.image"


def test_side_files_are_read_from_the_folder_only(tmp_path: Path):
    (tmp_path / "secret.txt").write_text("secret")
    folder = tmp_path / "p"
    folder.mkdir()
    for i in range(4):
        (folder / f"{i}.jpg").write_bytes(picture(i))
    (folder / "0.txt").write_text("a cat")
    (folder / "1.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "2.txt").symlink_to("/dev/zero")
    os.mkfifo(folder / "3.txt")
    rows = read(listing(str(folder)))
    assert [one["input_error"] for one in rows if one["caption"] != "a cat"] == [
        "malformed_row"
    ] * 3
    assert "secret" not in {one["caption"] for one in rows}


def test_a_folder_of_pictures_with_captions_beside_them(tmp_path: Path):
    for name, data in {
        "b/2.png": picture(2, ".png"), "b/2.json": b'{"caption": "two", "author": "x"}',
        "1.jpg": picture(1), "1.txt": b"one\n", "1.json": b'{"author": "y"}',
        "3.webp": picture(3, ".webp"), ".cache/4.jpg": picture(4), "notes.txt": b"not a caption",
    }.items():  # fmt: skip
        (tmp_path / "p" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "p" / name).write_bytes(data)
    rows = read(listing(str(tmp_path / "p")))
    root = f"file://{tmp_path}/p"
    assert [(one["url"], one["author"]) for one in rows] == [
        (f"{root}/1.jpg", "y"), (f"{root}/3.webp", None), (f"{root}/b/2.png", "x"),
    ]  # fmt: skip
    assert [one["input_error"] for one in rows][:2] == [None, "caption_missing"]
    place = parse_stored(rows[2][STORED])
    assert place == InFolder(root, "b/2.png", place.stamp)


def test_captions_in_texts_and_in_json_of_one_folder(tmp_path: Path):
    for i, (name, data) in enumerate([("txt", b"one"), ("json", b'{"caption": "two"}')]):
        (tmp_path / f"{i}.jpg").write_bytes(picture(i))
        (tmp_path / f"{i}.{name}").write_bytes(data)
    assert [one["caption"] for one in read(listing(str(tmp_path)))] == ["one", "two"]


def test_a_folder_with_a_list_is_read_by_the_list(tmp_path: Path):
    (tmp_path / "1.jpg").write_bytes(picture(1))
    with pytest.raises(InputError, match="none of the first pictures has a caption"):
        listing(str(tmp_path))
    (tmp_path / "1.txt").write_text("a cat")
    (tmp_path / "metadata.csv").write_text("file_name,text\n1.jpg,a cat\n")
    (found,) = listing(str(tmp_path)).sources
    assert found.format == "csv"
    (found,) = listing(str(tmp_path), input_format="imagefolder").sources
    assert found.format == "imagefolder"


@pytest.mark.parametrize("later", [0, 10_050])
@pytest.mark.parametrize("ending", ["jsonl", "json"])
def test_a_key_of_a_list_cannot_pass_for_a_place(tmp_path: Path, ending: str, later: int):
    """Beside a tar, so that the rows of both have the column `stored_in`."""
    rows = [{"url": f"https://a.example/{i}.jpg", "caption": f"cat {i}"} for i in range(later)]
    bad = {"url": "ftp://a/b.jpg", "caption": "a", INTERNAL: "file:///etc//passwd?", ADDRESS: "x"}
    text = [json.dumps(one) for one in [*rows, bad]]
    joined = "\n".join(text) if ending == "jsonl" else f"[{','.join(text)}]"
    (tmp_path / f"web.{ending}").write_text(joined)
    tar = write_tar(tmp_path / "x.tar", sample("1", 1, "one"))
    if not later:
        with pytest.raises(InputError, match="is no text"):
            listing([str(tmp_path / f"web.{ending}"), tar])
        return
    found = read(listing([str(tmp_path / f"web.{ending}"), tar]))
    assert [one["url"] for one in found if one[STORED]] == [f"file://{tar}#1.jpg"]
    assert found[later]["url"] == "ftp://a/b.jpg"


def test_a_list_cannot_write_places_of_its_own_choice(tmp_path: Path):
    table = pa.table({
        "url": ["https://a.example/1.jpg"], "caption": ["a cat"],
        STORED: ["/etc//passwd?"],
    })  # fmt: skip
    pq.write_table(table, tmp_path / "x.parquet")
    found = listing(str(tmp_path / "x.parquet"))
    assert [*found.passthrough] == [f"input_{STORED}"]


names = st.text(min_size=1, max_size=20)


@given(names, names, st.integers(0, 1 << 50), st.integers(0, 1 << 40), st.sampled_from(["", "0a1"]))
def test_a_place_is_read_back_from_its_text(file: str, name: str, a: int, b: int, stamp: str):
    for place in (InTar(file, a, b, stamp), InTable(file, name, a, stamp), Nowhere(file, stamp)):
        assert parse_stored(str(place)) == place
    if "//" not in name and not name.startswith("/") and not name.endswith(("@", "]")):
        folder = InFolder(file.rstrip("/") or "x", name, stamp)
        if "@" not in name:
            assert parse_stored(str(folder)) == folder
