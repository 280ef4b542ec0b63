"""Wrong inputs and jobs, and what the one-line error must contain."""

import gzip
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import save_file

ROWS = "url,caption\nhttps://a.example/1.jpg,a kangaroo made of cheese\n"
HEAD = {"name": "gore", "kind": "zeroshot", "positive": ["gore"], "negative": ["a cat"]}


def text(name: str, data: str | bytes) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / name).write_bytes(data.encode() if isinstance(data, str) else data)

    return write


def parquet(name: str, **columns: Any) -> Callable[[Path], None]:
    return lambda folder: pq.write_table(pa.table(columns), folder / name)


def torn_parquet(folder: Path) -> None:
    parquet("whole.parquet", url=["u"] * 99, caption=["c"] * 99)(folder)
    (folder / "x.parquet").write_bytes((folder / "whole.parquet").read_bytes()[:-40])


def safetensors(shape: tuple[int, ...], name: str = "layers.0.weight") -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        save_file({name: np.zeros(shape, np.float32)}, folder / "head.safetensors")

    return write


def half_detoxify(folder: Path) -> None:
    (folder / "tox").mkdir()
    (folder / "tox" / "model.safetensors").write_bytes(b"")


def rule(when: str, reason: str = "x_mine") -> dict[str, Any]:
    return {"rules": [{"reason": reason, "when": when}]}


def linear(**more: Any) -> dict[str, Any]:
    head = {"name": "art", "kind": "linear", "weights": "head.safetensors"}
    return {"embed": {"model": "winnow-tiny"}, "images": {"heads": [head | more]}}


# Name of the case, files in the folder beside rows.csv, the job, and what the line must say.
CASES: dict[str, tuple[Callable[[Path], None] | None, dict[str, Any], list[str]]] = {
    # The list.
    "no such file": (None, {"input": "row.csv"}, ["row.csv does not exist", "rows.csv?"]),
    "no such folder": (None, {"input": "nowhere/x.csv"}, ["nowhere/x.csv does not exist"]),
    "no match": (None, {"input": "*.tsv"}, ["nothing matches "]),
    "empty folder": (lambda f: (f / "void").mkdir(), {"input": "void"}, ["no CSV, TSV", "void"]),
    "blank path": (None, {"input": " "}, ["input", "blank"]),
    "no input at all": (None, {"input": []}, ["input", "empty"]),
    "unknown protocol": (None, {"input": "gopher://x/y.csv"}, ["gopher", "cannot be reached"]),
    "unknown format": (text("x.xls", "a"), {"input": "x.xls"}, ["x.xls", "`input_format`"]),
    "csv called parquet": (text("x.parquet", ROWS), {"input": "x.parquet"}, ["is not Parquet"]),
    "parquet called csv": (
        parquet("x.csv", url=["u"]), {"input": "x.csv"}, ["is binary, not CSV", "`input_format`"],
    ),
    "torn parquet": (torn_parquet, {"input": "x.parquet"}, ["x.parquet cannot be read"]),
    "plain called gz": (text("x.csv.gz", ROWS), {"input": "x.csv.gz"}, ["is not gzip"]),
    "gz called plain": (
        text("x.csv", gzip.compress(ROWS.encode())), {"input": "x.csv"}, ["is gzip; name it .gz"],
    ),
    "torn gz": (
        text("x.csv.gz", gzip.compress(ROWS.encode())[:-12]), {"input": "x.csv.gz"},
        ["x.csv.gz cannot be read"],
    ),
    "spoilt gz": (
        text("x.csv.gz", gzip.compress(b"")[:10] + b"\xff" * 40), {"input": "x.csv.gz"},
        ["x.csv.gz cannot be read"],
    ),
    "utf-16": (text("x.csv", ROWS.encode("utf-16")), {"input": "x.csv"}, ["UTF-16", "as UTF-8"]),
    "a json array called jsonl": (
        text("x.jsonl", '[\n{"url": "u", "caption": "c"}\n]'), {"input": "x.jsonl"},
        ["x.jsonl is a JSON array", "one object a line"],
    ),
    "a json array on one line called jsonl": (
        text("x.jsonl", '[{"url": "u", "caption": "c"}]'), {"input": "x.jsonl"},
        ["no line", "is a JSON object"],
    ),
    "a json document without rows": (
        text("x.json", '{\n"info": {"url": "u"}\n}'), {"input": "x.json"},
        ["x.json holds no array of objects", "one object a line (.jsonl)"],
    ),
    "a torn json document": (
        text("x.json", '[{"url": "u", "caption": "c"}, {"url": "v", "ca'), {"input": "x.json"},
        ["x.json is no whole JSON document"],
    ),
    "csv called jsonl": (text("x.jsonl", ROWS), {"input": "x.jsonl"}, ["no line", "JSON object"]),
    "empty file": (text("x.csv", ""), {"input": "x.csv"}, ["x.csv is empty"]),
    "header only": (text("x.csv", "url,caption\n"), {"input": "x.csv"}, ["x.csv has no rows"]),
    "no rows in parquet": (
        parquet("x.parquet", url=pa.array([], pa.string()), caption=pa.array([], pa.string())),
        {"input": "x.parquet"}, ["x.parquet has no rows"],
    ),
    "no url column": (
        text("x.csv", "picture_url,caption\nu,c\n"), {"input": "x.csv"},
        ["no url column", "picture_url, caption", "`columns.url: picture_url`"],
    ),
    "no caption column": (
        text("x.csv", "url,my_caption\nu,c\n"), {"input": "x.csv"},
        ["no caption column", "url, my_caption", "`columns.caption: my_caption`"],
    ),
    "no header": (
        text("x.csv", "7," + ROWS.split("\n")[1]), {"input": "x.csv"},
        ["no caption column", "column_1, url, column_3", "`columns.caption: column_3`"],
    ),
    "wrong column named": (
        None, {"columns": {"caption": "captoin"}}, ["no caption column (captoin)", "`caption`"],
    ),
    "a column twice": (
        text("x.csv", "url,caption,url\nu,c,v\n"), {"input": "x.csv"}, ["two columns named `url`"],
    ),
    "a column name that is no text": (
        text("x.jsonl", '{"url": "u", "caption": "c", "\\ud800": 1}\n'), {"input": "x.jsonl"},
        ["the column name '\\ud800' is no text"],
    ),
    "a column name with NUL": (
        text("x.jsonl", '{"url": "u", "caption": "c", "a\\u0000": 1}\n'), {"input": "x.jsonl"},
        ["the column name 'a\\x00' is no text"],
    ),
    # Beyond all bounds; `test_list_bounds.py` and `test_table_bounds.py` have more.
    "a hundred thousand columns": (
        text("x.csv", "url,caption" + ",c" * 100_000 + "\n"), {"input": "x.csv"},
        ["x.csv has more than 5,000 columns", "at most 5,000"],
    ),
    "a line of 20 MB": (
        text("x.tsv", "x" * 20_000_000), {"input": "x.tsv"},
        ["x.tsv has no line but those of more than 16,777,216 bytes", "is it TSV?"],
    ),
    "a cell of millions of values": (
        parquet("x.parquet", url=["u"], caption=["c"], z=[[0] * 17_000_000]),
        {"input": "x.parquet"}, ["x.parquet: row group 0 claims 17,000,000 values of `z.list"],
    ),
    "a pipe for a list": (
        lambda folder: os.mkfifo(folder / "x.csv"), {"input": "x.csv"}, ["x.csv is a pipe"],
    ),
    # The job's keys.
    "unknown key": (None, {"shardsize": 5}, ["unknown key `shardsize`", "`shard_size`"]),
    "unknown key in a section": (
        None, {"download": {"image_sizes": 5}},
        ["`download.image_sizes`", "did you mean `image_size`"],
    ),
    "unknown key in a list": (
        None, {"rules": [{"reasn": "pii", "when": "true"}]}, ["`rules[0].reasn`", "`reason`"],
    ),
    "key of a section at the top": (
        None, {"image_size": 256}, ["`image_size`", "did you mean `download.image_size`?"],
    ),
    "wrong type": (
        None, {"shard_size": "many"}, ["`shard_size`", "valid integer", "(given: 'many')"],
    ),
    "out of range": (None, {"audit_fraction": 2}, ["`audit_fraction`", "less than or equal to 1"]),
    "not one of": (
        None, {"download": {"resize_mode": "crop"}}, ["`download.resize_mode`", "'center_crop'"],
    ),
    "an empty section": (None, {"embed": None}, ["`embed`", "remove the line"]),
    "a section that is a word": (None, {"dedup": "off"}, ["`dedup`", "a section with keys"]),
    "an allowed folder that is not there": (
        None, {"download": {"allow_paths": ["/nowhere/at/all"]}},
        ["download.allow_paths: there is no folder /nowhere/at/all"],
    ),
    "the whole disk allowed": (
        None, {"download": {"allow_paths": ["/"]}}, ["`download.allow_paths`", "below the root"],
    ),
    "a store that is none": (
        None, {"download": {"allow_paths": ["gopher://x"]}}, ["allow_paths: gopher://x cannot be"],
    ),
    "a network that is none": (
        None, {"download": {"allow_addresses": ["300.1.1.1"]}}, ["allow_addresses", "300.1.1.1"],
    ),
    "a blank name": (None, {"name": " "}, ["`name`", "is not blank", "remove the line"]),
    "an empty name": (None, {"name": ""}, ["`name`", "is not blank", "remove the line"]),
    "a path for a name": (None, {"name": "a/b"}, ["`name`", "has no slash; choose another"]),
    "a hidden name": (None, {"name": ".."}, ["`name`", "does not begin with a dot"]),
    "a name in two lines": (None, {"name": "a\nb"}, ["`name`", "has no control characters"]),
    "a long name": (None, {"name": "é" * 101}, ["`name`", "has at most 200 bytes"]),
    "a name of nested stores": (None, {"name": "a::b"}, ["`name`", "has no `::`"]),
    "a file for the output": (None, {"output": "rows.csv"}, ["output", "rows.csv is a file"]),
    "a long output": (None, {"output": "a" * 300}, ["output", "name too long; name another"]),
    # The rules.
    "a rule beyond all measure": (
        None, rule("true" + " or true" * 20_000), ["`rules[0].when`", "at most 100000 characters"],
    ),
    "unknown reason": (None, rule("true", "duplicat"), ["`rules[0].reason`", "`duplicate`"]),
    "a column that nothing makes": (
        None, rule("clip_score < 0.2"), ["rules[0].when", "makes the column `clip_score`"],
    ),
    "a misspelt column": (None, rule("caption_word < 3"), ["rules[0].when", "`caption_words`?"]),
    "a misspelt input column": (
        text("x.csv", "url,caption,forum\nu,c,f\n"),
        {"input": "x.csv", **rule("forun = 'x'")}, ["rules[0].when", "did you mean `forum`?"],
    ),
    "sql that is none": (None, rule("caption_words <"), ["rules[0].when", "syntax error"]),
    "an empty rule": (None, rule(" "), ["rules[0].when", "this is empty"]),
    "not a boolean": (None, rule("caption_words"), ["rules[0].when", "INTEGER, not a boolean"]),
    "a select": (
        None, rule("caption in (select 'x')"), ["rules[0].when", "judges one row: no SELECT"],
    ),
    "a select without the word": (None, rule("exists(from samples)"), ["no SELECT"]),
    "a window": (None, rule("row_number() over () > 5"), ["rules[0].when", "no OVER"]),
    "an aggregate": (None, rule("max(caption_words) > 5"), ["rules[0].when", "no aggregate"]),
    "dice": (None, rule("random() < 0.5"), ["rules[0].when", "`random`", "hash(uid)"]),
    "two statements": (None, rule("true); select (true"), ["rules[0].when"]),
    "a file": (
        None, rule("exists(from 'rows.csv')"), ["rules[0].when", "judges one row"],
    ),
    "a file by function": (
        None, rule("read_text('rows.csv') is null"), ["rules[0].when", "read_text"],
    ),
    "only_if over a later column": (
        None, {"download": {"only_if": "phash_quality > 50"}},
        ["download.only_if", "`phash_quality`"],
    ),
    "only_if that is no boolean": (
        None, {"download": {"only_if": "caption_words"}}, ["download.only_if", "not a boolean"],
    ),
    "a ranking that nothing makes": (
        None, {"dedup": {"prefer": ["original_pixel"]}}, ["dedup.prefer[0]", "`original_pixels`?"],
    ),
    "a ranking by words": (
        None, {"dedup": {"prefer": ["sha256"]}}, ["dedup.prefer[0]", "only numbers"],
    ),
    "a hash column that is not there": (
        None, {"columns": {"sha256": "captoin"}},
        ["columns.sha256: the input has no column `captoin`", "did you mean `caption`?"],
    ),
    "a list of domains that is not there": (
        None, {"download": {"opted_out_domains": "none.txt"}},
        ["download.opted_out_domains: cannot read", "none.txt"],
    ),
    "a domain that is none": (
        text("domains.txt", "example.com\nhttp://example.org/x\n"),
        {"download": {"opted_out_domains": "domains.txt"}},
        ["download.opted_out_domains", "line 2", "a domain is e.g. example.org"],
    ),
    "a hash of no kind": (
        text("hashes.txt", "ab" * 32), {"download": {"blocklist": "hashes.txt"}},
        ["download.blocklist", "line 1", "`sha256:` or `pdq:`"],
    ),
    "a name server that is no address": (
        None, {"download": {"nameservers": ["dns.example"]}},
        ["download.nameservers", "dns.example"],
    ),
    # The models.
    "weights that no hub gives": (
        None, {"embed": {"model": "ViT-B-32", "pretrained": "openai"}},
        ["ViT-B-32", "not on this machine", "winnow-tiny"],
    ),
    "no weights named": (None, {"embed": {"model": "ViT-B-32"}}, ["ViT-B-32", '"pretrained"']),
    "a misspelt model": (None, {"embed": {"model": "VIT-B-23"}}, ["VIT-B-23", "ViT-B-32"]),
    "heads without vectors": (
        None, {"images": {"heads": [HEAD]}}, ["images.heads", "`embed.model`"],
    ),
    "a head without prompts": (
        None, {"embed": {"model": "winnow-tiny"}, "images": {"heads": [HEAD | {"negative": []}]}},
        ["images.heads[0]", "`negative`"],
    ),
    "a kind of head that is none": (
        None, linear(kind="lineer"),
        ["images.heads[0].kind", "no kind of head `lineer`", "did you mean `linear`?"],
    ),
    "a head with another kind's key": (
        None, linear(hidden_activation="relu"),
        ["images.heads[0]", "unknown key `hidden_activation`", "`activation`"],
    ),
    "no such head": (None, linear(), ["images.heads[0].weights", "does not exist"]),
    "a pickled head": (
        text("head.pt", pickle.dumps({})), linear(weights="head.pt"),
        ["images.heads[0].weights", "pickles are not loaded"],
    ),
    "a pickle called safetensors": (
        text("head.safetensors", pickle.dumps({"a": 1})), linear(),
        ["images.heads[0].weights", "is not safetensors"],
    ),
    "a head of another width": (
        safetensors((1, 768)), linear(), ["images.heads[0].weights", "width 768", "gives 128"],
    ),
    "a head of other names": (
        safetensors((1, 128), "linear.weight"), linear(), ["layers.0.weight", "linear.weight"],
    ),
    "a head named like a column": (
        None,
        {"embed": {"model": "winnow-tiny"}, "images": {"heads": [HEAD | {"name": "width"}]}},
        ["`width`", "another name"],
    ),
    "detoxify without a checkpoint": (
        None, {"captions": {"toxicity": {"model": "original"}}},
        ["captions.toxicity", "convert_detoxify", "winnow-toxicity"],
    ),
    "half a checkpoint": (
        half_detoxify, {"captions": {"toxicity": {"model": "original", "checkpoint": "tox"}}},
        ["captions.toxicity.checkpoint", "tox/config.json is missing"],
    ),
    "no such vocabulary": (
        None, {"captions": {"vocabulary": "words.txt"}}, ["captions.vocabulary", "words.txt"],
    ),
    "an empty vocabulary": (
        text("words.txt", "# nothing\n\n"), {"captions": {"vocabulary": "words.txt"}},
        ["captions.vocabulary", "holds no words"],
    ),
    "vectors asked for that are not made": (
        None, {"export": {"formats": ["clip-retrieval"]}}, ["export.formats", "`embed.model`"],
    ),
    "a layout that is none": (
        None, {"export": {"formats": ["datcomp"]}},
        ["export.formats", "no layout `datcomp`", "did you mean `datacomp`?"],
    ),
    "a layout that is none at all": (
        None, {"export": {"formats": ["tfrecord"]}},
        ["export.formats", "no layout `tfrecord`", "there are clip-retrieval, datacomp"],
    ),
    "a subset of no pool": (
        None, {"export": {"formats": ["datacomp"]}},
        ["export.formats", "datacomp needs the pool's uids", "a column `uid`"],
    ),
    "a pool's uids that are numbers": (
        parquet("rows.parquet", url=["u"], caption=["c"], uid=[17]),
        {"input": "rows.parquet", "export": {"formats": ["datacomp"]}},
        ["export.formats", "the list's `uid` is int64", "32 hex digits"],
    ),
    "a pool's uids that are none": (
        text("odd.csv", "url,caption,uid\nhttp://a.example/1.jpg,a cat,17\n"),
        {"input": "odd.csv", "export": {"formats": ["datacomp"]}},
        ["export.formats", "the list's `uid` holds `17`", "32 hex digits"],
    ),
}  # fmt: skip
