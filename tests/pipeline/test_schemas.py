"""The lists that people have are read as they are: a small list in the schema of each."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lists import listing, read, seen

from pipeline.words.errors import InputError

A, B = "https://a.example/1.jpg", "https://a.example/2.jpg"
PAIRS = [(A, "a cat", None), (B, "a dog", None)]


def parquet(path: Path, **columns) -> str:
    pq.write_table(pa.table(columns), path)
    return str(path)


def text(path: Path, *lines: str) -> str:
    path.write_text("\n".join(lines) + "\n")
    return str(path)


@pytest.mark.parametrize(
    "schema",
    [
        # LAION-400M
        {"SAMPLE_ID": [1.0, 2.0], "URL": [A, B], "TEXT": ["a cat", "a dog"], "HEIGHT": [1, 2],
         "WIDTH": [1, 2], "LICENSE": ["?", "?"], "NSFW": ["NSFW"] * 2, "similarity": [0.3, 0.4]},
        # LAION-2B
        {"SAMPLE_ID": [1, 2], "URL": [A, B], "TEXT": ["a cat", "a dog"], "HEIGHT": [1, 2],
         "WIDTH": [1, 2], "similarity": [0.3, 0.4], "hash": [1, 2], "punsafe": [0.1, 0.2],
         "pwatermark": [0.1, 0.2]},
        # LAION-COCO: the alternative texts beside the made ones
        {"URL": [A, B], "TEXT": ["a cat", "a dog"], "top_caption": ["x", "y"],
         "all_captions": [["x"], ["y", "z"]], "all_similarities": [[0.1], [0.2, 0.3]]},
        # Re-LAION
        {"url": [A, B], "caption": ["a cat", "a dog"], "key": [1, 2], "status": ["success"] * 2,
         "similarity": [0.3, 0.4], "md5": ["", ""]},
        # COYO-700M
        {"id": [1, 2], "url": [A, B], "text": ["a cat", "a dog"], "width": [1, 2],
         "image_phash": ["x", "y"], "text_length": [5, 5], "clip_similarity_vitb32": [0.3, 0.4],
         "nsfw_score_opennsfw2": [0.0, 0.1], "watermark_score": [0.1, 0.2]},
        # DataComp CommonPool
        {"uid": ["0" * 32, "1" * 32], "url": [A, B], "text": ["a cat", "a dog"],
         "original_width": [1, 2], "clip_b32_similarity_score": [0.3, 0.4],
         "face_bboxes": [[[0.1, 0.2, 0.3, 0.4]], []], "sha256": ["a" * 64, "b" * 64]},
        # Hugging Face's conceptual_captions
        {"image_url": [A, B], "caption": ["a cat", "a dog"], "labels": [["cat"], ["dog"]],
         "confidence_scores": [[0.9], [0.8]]},
        # SBU on Hugging Face
        {"image_url": [A, B], "user_id": ["x", "y"], "caption": ["a cat", "a dog"]},
        # RedCaps on Hugging Face; its `url`, if there is one, is the page's
        {"image_id": ["x", "y"], "url": ["https://p.example/"] * 2, "image_url": [A, B],
         "raw_caption": ["A cat!", "A dog!"], "caption": ["a cat", "a dog"], "score": [1, 2]},
    ],
    ids=["laion400m", "laion2b", "laion-coco", "relaion", "coyo", "datacomp", "conceptual-captions",
         "sbu", "redcaps"],
)  # fmt: skip
def test_parquet_lists(tmp_path: Path, schema: dict):
    found = listing(parquet(tmp_path / "list.parquet", **schema))
    assert seen(read(found)) == PAIRS
    kept = {source for source, _ in found.passthrough.values()}
    assert len(kept) == len(schema) - 2, "every other column passes through"


def test_conceptual_captions_without_a_header(tmp_path: Path):
    name = text(tmp_path / "Train_GCC-training.tsv", f"a cat\t{A}", f"a dog\t{B}")
    assert seen(read(listing(name))) == PAIRS


def test_conceptual_12m_without_a_header(tmp_path: Path):
    name = text(tmp_path / "cc12m.tsv", f"{A}\ta cat", f"{B}\ta dog")
    assert seen(read(listing(name))) == PAIRS


def test_a_list_with_one_row_and_no_header(tmp_path: Path):
    assert seen(read(listing(text(tmp_path / "x.csv", f"{A},a cat")))) == PAIRS[:1]


def test_wikipedia_image_text_takes_the_first_caption_that_there_is(tmp_path: Path):
    name = text(
        tmp_path / "wit_v1.train.all-1percent_sample.tsv",
        "language\tpage_url\timage_url\tpage_title\tcaption_reference_description\t"
        "caption_attribution_description\tcaption_alt_text_description\tmime_type",
        f"en\thttps://en.example/Cat\t{A}\tCat\ta cat\tEnglish: x\ty\timage/jpeg",
        f"en\thttps://en.example/Dog\t{B}\tDog\t\ta dog\ty\timage/jpeg",
        f"en\thttps://en.example/Cow\t{B}\tCow\t\t \ta cow\timage/jpeg",
        f"en\thttps://en.example/Ape\t{B}\tApe\t\t\t\timage/jpeg",
    )
    found = listing(name)
    assert seen(read(found)) == [
        *PAIRS, (B, "a cow", None), (B, None, "caption_missing"),
    ]  # fmt: skip
    assert "page_url" in found.passthrough


@pytest.mark.parametrize("columns", [23, 25])
def test_yfcc_has_its_columns_by_position(tmp_path: Path, columns: int):
    row = ["1", "n@1", "nick", "2010", "1", "Canon", "a+title", "a%20cat+%26+dog", "cat,dog", "",
           "", "", "", "http://www.flickr.com/photos/1", A, "CC", "http://l/", "1", "2", "s", "o",
           "jpg", "0"]  # fmt: skip
    other = [*row[:7], "", *row[8:]]
    if columns == 25:
        row, other = ["0", row[0], "hash", *row[1:]], ["1", other[0], "hash", *other[1:]]
    found = listing(text(tmp_path / "yfcc100m_dataset.tsv", "\t".join(row), "\t".join(other)))
    rows = read(found)
    assert seen(rows) == [(A, "a cat & dog", None), (A, "a title", None)]
    assert (rows[0]["license_name"], rows[0]["page_url"]) == (
        "CC",
        "http://www.flickr.com/photos/1",
    )


def test_coco_gives_a_row_for_each_annotation(tmp_path: Path):
    document = {
        "info": {"year": 2017},
        "licenses": [{"id": 4, "name": "CC"}],
        "images": [
            {"id": 9, "file_name": "9.jpg", "coco_url": A, "width": 640, "height": 480},
            {"id": 8, "file_name": "8.jpg", "coco_url": B, "width": 640, "height": 480},
        ],
        "annotations": [
            {"image_id": 9, "id": 1, "caption": "a cat"},
            {"image_id": 8, "id": 2, "caption": "a dog"},
            {"image_id": 9, "id": 3, "caption": "it sleeps"},
        ],
    }
    for name, indent in (("captions_train2017.json", None), ("pretty.json", 1)):
        (tmp_path / name).write_text(json.dumps(document, indent=indent))
        rows = read(listing(str(tmp_path / name)))
        assert seen(rows) == [*PAIRS, (A, "it sleeps", None)]
        assert (rows[2]["file_name"], rows[2]["width"]) == ("9.jpg", 640)


def test_redcaps_annotations(tmp_path: Path):
    rows = [{"image_id": "x", "url": A, "raw_caption": "A cat", "caption": "a cat"},
            {"image_id": "y", "url": B, "raw_caption": "A dog", "caption": "a dog"}]  # fmt: skip
    (tmp_path / "x.json").write_text(json.dumps({"info": {"start_date": 1}, "annotations": rows}))
    assert seen(read(listing(str(tmp_path / "x.json")))) == PAIRS


def test_sbu_is_an_object_of_columns(tmp_path: Path):
    document = {"image_urls": [A, B], "user_ids": ["x", "y"], "captions": ["a cat", "a dog"]}
    (tmp_path / "sbu-captions-all.json").write_text(json.dumps(document))
    rows = read(listing(str(tmp_path)))
    assert seen(rows) == PAIRS
    assert [row["user_ids"] for row in rows] == ["x", "y"]
    document["captions"].pop()
    (tmp_path / "sbu-captions-all.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match="the array `captions` is shorter than the others"):
        read(listing(str(tmp_path)))


@pytest.mark.parametrize("indent", [None, 2])
def test_an_array_of_objects(tmp_path: Path, indent):
    rows = [{"url": A, "caption": "a cat", "n": 1.5}, {"url": B, "caption": "a dog", "n": 2}]
    (tmp_path / "x.json").write_text(json.dumps(rows, indent=indent))
    assert seen(read(listing(str(tmp_path / "x.json")))) == PAIRS


def test_a_json_file_of_lines_is_read_by_lines(tmp_path: Path):
    rows = [{"url": A, "caption": "a cat"}, {"url": B, "caption": "a dog"}]
    name = text(tmp_path / "x.json", json.dumps(rows[0]), "{broken", json.dumps(rows[1]))
    assert [row[2] for row in seen(read(listing(name)))] == [None, None, "malformed_row"]


def test_a_document_that_is_cut_or_holds_no_rows_ends_in_one_line(tmp_path: Path):
    (tmp_path / "cut.json").write_text('[{"url": "u", "caption": "c"}, {"url"')
    with pytest.raises(InputError, match=r"cut\.json is no whole JSON document"):
        read(listing(str(tmp_path / "cut.json")))
    (tmp_path / "none.json").write_text('{\n"info": {"a": 1}\n}')
    with pytest.raises(InputError, match=r"none\.json holds no array of objects"):
        listing(str(tmp_path / "none.json"))


def test_the_tables_of_img2dataset(tmp_path: Path):
    parquet(tmp_path / "00000.parquet", url=[A, B], caption=["a cat", "a dog"], key=["0", "1"],
            status=["success"] * 2, width=[1, 2], sha256=["", ""])  # fmt: skip
    (tmp_path / "00000_stats.json").write_text(json.dumps({"count": 2}, indent=1))
    assert seen(read(listing(str(tmp_path)))) == PAIRS


def test_an_earlier_export(tmp_path: Path):
    parquet(tmp_path / "00000.parquet", url=[A, B], caption=["a cat", "a dog"], key=["0", "1"])
    for name in ("00000_stats.json", "manifest.json", "sizes.json"):
        (tmp_path / name).write_text("{}")
    assert seen(read(listing(str(tmp_path)))) == PAIRS


@pytest.mark.parametrize("whole", [True, False])
def test_hive_folders_become_columns(tmp_path: Path, whole: bool):
    for folder in ("lang=de/year=2020", "lang=__HIVE_DEFAULT_PARTITION__/year=20%2F21"):
        (tmp_path / folder).mkdir(parents=True)
    parquet(tmp_path / "lang=de/year=2020" / "x.parquet", url=[A], caption=["a cat"])
    parquet(tmp_path / "lang=__HIVE_DEFAULT_PARTITION__/year=20%2F21" / "x.parquet", url=[B],
            caption=["a dog"])  # fmt: skip
    found = listing(str(tmp_path if whole else tmp_path / "lang=*" / "*" / "*.parquet"))
    rows = {row["url"]: (row["lang"], row["year"]) for row in read(found)}
    assert rows == {A: ("de", "2020"), B: (None, "20/21")}


@pytest.mark.parametrize("packed", ["x.jsonl.zst", "x.JSONL.GZ", "x.tsv.bz2", "x.csv.xz"])
def test_compressed_lists(tmp_path: Path, packed: str):
    import bz2
    import lzma

    kind = packed.split(".")[1].lower()
    mark = {"csv": ",", "tsv": "\t"}.get(kind)
    lines = [json.dumps({"url": u, "caption": c}) for u, c, _ in PAIRS]
    if mark:
        lines = [f"url{mark}caption", *(f"{u}{mark}{c}" for u, c, _ in PAIRS)]
    data = ("\n".join(lines) + "\n").encode()
    pack = {
        "zst": lambda data: pa.Codec("zstd").compress(data, asbytes=True),
        "gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress,
    }[packed.split(".")[-1].lower()]  # fmt: skip
    (tmp_path / packed).write_bytes(pack(data))
    assert seen(read(listing(str(tmp_path / packed)))) == PAIRS


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
def test_the_delimiter_of_a_csv_list_is_found(tmp_path: Path, mark: str):
    lines = [mark.join(row) for row in [("n", "url", "caption"), ("1", A, "a cat; x"),
                                        ("2", B, "a dog, y")]]  # fmt: skip
    if mark in ",;":
        lines = [line.replace("a cat; x", '"a cat; x"').replace("a dog, y", '"a dog, y"')
                 for line in lines]  # fmt: skip
    rows = seen(read(listing(text(tmp_path / "x.csv", *lines))))
    assert rows == [(A, "a cat; x", None), (B, "a dog, y", None)]


def test_spaces_around_the_names_of_a_header_are_no_part_of_them(tmp_path: Path):
    name = text(tmp_path / "x.csv", "url , caption, my score", f"{A},a cat,7")
    found = listing(name)
    assert (seen(read(found)), list(found.passthrough)) == (PAIRS[:1], ["my score"])


def test_the_job_can_give_the_dialect(tmp_path: Path):
    name = text(tmp_path / "x.csv", f"7~{A}~a cat", f"8~{B}~a dog")
    given = {"delimiter": "~", "header": ["n", "url", "caption"]}
    rows = read(listing(name, input_dialect=given))
    assert (seen(rows), [row["n"] for row in rows]) == (PAIRS, ["7", "8"])
    with pytest.raises(InputError, match=r"header: 2 names, but .*x\.csv has 3 columns"):
        listing(name, input_dialect={"delimiter": "~", "header": ["url", "caption"]})
    headed = text(tmp_path / "y.csv", "https://names.example,caption", f"{A},a cat")
    columns = {"url": "https://names.example"}
    rows = read(listing(headed, input_dialect={"header": True}, columns=columns))
    assert seen(rows) == PAIRS[:1]


def test_several_columns_without_a_header_need_the_caption_named(tmp_path: Path):
    name = text(tmp_path / "x.tsv", f"1\ta cat\t{A}", f"2\ta dog\t{B}")
    with pytest.raises(InputError, match=r"no caption column .* are column_1, column_2, url"):
        listing(name)
    assert seen(read(listing(name, columns={"caption": "column_2"}))) == PAIRS


def test_a_list_of_captions_is_several_rows(tmp_path: Path):
    path = parquet(tmp_path / "x.parquet", url=[A, B, A], n=[1, 2, 3],
                   caption=[["a cat", "it sleeps"], ["a dog"], []])  # fmt: skip
    lines = [json.dumps(row) for row in pq.read_table(path).to_pylist()]
    for name in (path, text(tmp_path / "x.jsonl", *lines)):
        rows = read(listing(name))
        assert seen(rows) == [
            (A, "a cat", None), (A, "it sleeps", None), (B, "a dog", None),
            (A, None, "caption_missing"),
        ]  # fmt: skip
        assert [str(row["n"]) for row in rows] == ["1", "1", "2", "3"]


def test_the_job_can_name_several_captions(tmp_path: Path):
    path = parquet(tmp_path / "x.parquet", url=[A, B], long=[None, "a dog"], short=["a cat", "x"])
    assert seen(read(listing(path, columns={"caption": ["long", "short"]}))) == PAIRS


@pytest.mark.parametrize("mark", ["\t", ";"])
def test_a_comma_in_the_first_caption_does_not_divide_a_list_without_a_header(
    tmp_path: Path, mark: str
):
    name = text(tmp_path / "x.csv", f"{A}{mark}a cat, asleep", f"{B}{mark}a dog")
    assert seen(read(listing(name))) == [(A, "a cat, asleep", None), (B, "a dog", None)]


def test_a_header_that_names_a_pair_may_hold_an_address(tmp_path: Path):
    name = text(tmp_path / "x.csv", "url,caption,https://schema.org/license", f"{A},a cat,cc")
    found = listing(name)
    assert (seen(read(found)), list(found.passthrough)) == (
        PAIRS[:1], ["https://schema.org/license"],
    )  # fmt: skip


def test_an_empty_image_url_beside_url_is_not_taken(tmp_path: Path):
    for i, empty in enumerate((["", " "], [None, None])):
        path = parquet(tmp_path / f"{i}.parquet", url=[A, B], caption=["a cat", "a dog"],
                       image_url=pa.array(empty, pa.string()))  # fmt: skip
        assert seen(read(listing(path))) == PAIRS


@pytest.mark.parametrize(
    "rows",
    [
        [{"link": A, "title": "a cat", "images": ["q"]},
         {"link": B, "title": "a dog", "images": []}],
        [{"link": A, "title": "a cat", "items": [{"a": 1}]}, {"link": B, "title": "a dog"}],
    ],
)  # fmt: skip
def test_lines_that_hold_lists_are_no_document(tmp_path: Path, rows: list[dict]):
    name = text(tmp_path / "x.json", *map(json.dumps, rows))
    assert seen(read(listing(name, columns={"url": "link", "caption": "title"}))) == PAIRS


@pytest.mark.parametrize(
    "lines",
    [
        ['{"annotations": [', '{"url": "<A>", "caption": "a cat"},',
         '{"url": "<B>", "caption": "a dog"}', "]}"],
        ['{"info": {"a": 1},', '"annotations": [{"url": "<A>", "caption": "a cat"},',
         '{"url": "<B>", "caption": "a dog"}]}'],
        ['{"version": 1, "url": ["<A>", "<B>"], "caption": ["a cat", "a dog"]}'],
        ['\ufeff[{"url": "<A>", "caption": "a cat", "hash": 18446744073709551615},',
         '{"url": "<B>", "caption": "a dog", "hash": 1}]'],
    ],
)  # fmt: skip
def test_documents_in_other_shapes(tmp_path: Path, lines: list[str]):
    lines = [line.replace("<A>", A).replace("<B>", B) for line in lines]
    assert seen(read(listing(text(tmp_path / "x.json", *lines)))) == PAIRS


def test_a_document_loses_no_odd_member(tmp_path: Path):
    (tmp_path / "x.json").write_text(json.dumps([{"url": A, "caption": "a cat"}, None, ["x"], 7]))
    reasons = [row[2] for row in seen(read(listing(str(tmp_path / "x.json"))))]
    assert reasons == [None, "url_missing", "url_missing", "url_missing"]


def test_an_empty_document_among_others_is_skipped(tmp_path: Path):
    (tmp_path / "1.json").write_text("[]")
    (tmp_path / "2.json").write_text(json.dumps([{"url": A, "caption": "a cat"}]))
    assert seen(read(listing(str(tmp_path)))) == PAIRS[:1]


@pytest.mark.parametrize("kind", [pa.large_list(pa.string()), pa.list_(pa.large_string()),
                                  pa.list_(pa.string_view())], ids=str)  # fmt: skip
def test_captions_in_any_kind_of_list(tmp_path: Path, kind: pa.DataType):
    captions = pa.array([["a cat", "it sleeps"], ["a dog"]], kind)
    path = parquet(tmp_path / "x.parquet", url=[A, B], caption=captions, other=captions)
    rows = read(listing(path))
    assert seen(rows) == [(A, "a cat", None), (A, "it sleeps", None), (B, "a dog", None)]


@pytest.mark.parametrize("mark", ["é", "\n", '"', "ab", ""])
def test_a_delimiter_that_cannot_be_one_ends_before_any_work(tmp_path: Path, mark: str):
    name = text(tmp_path / "x.csv", "url,caption", f"{A},a cat")
    with pytest.raises(InputError, match=r"input_dialect\.delimiter"):
        listing(name, input_dialect={"delimiter": mark})
