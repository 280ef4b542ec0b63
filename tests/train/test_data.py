"""An export as batches: order, resuming, and invalid exports."""

from __future__ import annotations

import hashlib
import json
import shutil
from itertools import chain, islice
from pathlib import Path

import numpy as np
import pytest

from pipeline.words.errors import InputError
from train.data import Encoded, batches, decode, open_export


def take(export: Path, count: int, **options) -> list[list[str]]:
    settings = {"resolution": 16, "batch_size": 4, "seed": 0, **options}
    stream = batches(open_export(export), **settings)
    return [batch.captions for batch in islice(stream, count)]


def test_pictures_and_captions_stay_together(export: Path) -> None:
    data = open_export(export)
    by_caption: dict[str, set[bytes]] = {}
    for batch in islice(batches(data, resolution=16, batch_size=30, seed=1), 2):
        assert batch.pictures.shape == (30, 16, 16, 3)
        assert batch.pictures.dtype == np.uint8
        for picture, text in zip(batch.pictures, batch.captions, strict=True):
            by_caption.setdefault(text, set()).add(picture.tobytes())
    assert sum(len(pictures) for pictures in by_caption.values()) == 30


@pytest.mark.parametrize("cache_mib", [512, 0], ids=["cached", "streamed"])
def test_each_epoch_holds_every_row_once_in_its_own_order(export: Path, cache_mib: int) -> None:
    flat = list(chain.from_iterable(take(export, 15, cache_mib=cache_mib)))
    first, second = flat[:30], flat[30:]
    assert sorted(first) == sorted(second)
    assert first != second
    assert list(chain.from_iterable(take(export, 15, cache_mib=cache_mib, seed=1))) != flat


@pytest.mark.parametrize("cache_mib", [512, 0], ids=["cached", "streamed"])
@pytest.mark.parametrize("skip", [1, 7, 8, 20])
def test_a_resumed_stream_continues_at_the_same_batch(
    export: Path, cache_mib: int, skip: int
) -> None:
    whole = take(export, 25, cache_mib=cache_mib)
    assert take(export, 25 - skip, cache_mib=cache_mib, skip=skip) == whole[skip:]


def test_the_order_does_not_depend_on_the_threads(export: Path) -> None:
    assert take(export, 10, threads=1) == take(export, 10, threads=4)


@pytest.mark.parametrize(("height", "width"), [(40, 20), (20, 40), (7, 9), (16, 16)])
def test_decoding_cuts_the_centre_square(height: int, width: int) -> None:
    import cv2

    rgb = np.zeros((height, width, 3), np.uint8)
    rgb[..., 0] = 200
    png = cv2.imencode(".png", rgb[:, :, ::-1])[1].tobytes()
    assert (decode(Encoded("here", png, ""), 16) == [200, 0, 0]).all()
    assert decode(Encoded("here", png, ""), 16).shape == (16, 16, 3)


def test_a_folder_without_a_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"manifest\.json is missing"):
        open_export(tmp_path)


@pytest.mark.parametrize(
    ("manifest", "reason"),
    [
        ("{", "cannot be read"),
        ("[]", "cannot be read"),
        ('{"shards": []}', "KeyError: 'fingerprint'"),
        ('{"fingerprint": "a", "shards": [{"tar": "0.tar", "rows": 3}]}', "0.tar is listed in"),
        ('{"fingerprint": "a", "shards": []}', "lists no rows"),
    ],
)
def test_a_wrong_manifest_is_refused_with_its_reason(
    tmp_path: Path, manifest: str, reason: str
) -> None:
    (tmp_path / "manifest.json").write_text(manifest)
    with pytest.raises(InputError, match=reason):
        open_export(tmp_path)


@pytest.mark.parametrize("cache_mib", [512, 0], ids=["cached", "streamed"])
@pytest.mark.parametrize(
    ("length", "reason"), [(0, "00001.tar|30 rows"), (700, "00001.tar|30 rows")]
)
def test_a_truncated_shard_is_refused(
    export: Path, tmp_path: Path, length: int, reason: str, cache_mib: int
) -> None:
    broken = shutil.copytree(export, tmp_path / "broken")
    shard = broken / "00001.tar"
    shard.write_bytes(shard.read_bytes()[:length])
    with pytest.raises(InputError, match=reason):
        take(broken, 9, cache_mib=cache_mib)


def test_a_shard_of_another_size_is_refused_before_any_work(export: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(export, tmp_path / "broken")
    manifest = json.loads((broken / "manifest.json").read_text())
    manifest["shards"][0]["bytes"] = 7
    (broken / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=r"00000\.tar has \d+ bytes, .* says 7; export again"):
        open_export(broken)


def test_a_shard_that_was_altered_is_refused_before_any_work(export: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(export, tmp_path / "broken")
    manifest = json.loads((broken / "manifest.json").read_text())
    for shard in manifest["shards"]:
        shard["sha256"] = hashlib.sha256((broken / shard["tar"]).read_bytes()).hexdigest()
    (broken / "manifest.json").write_text(json.dumps(manifest))
    assert open_export(broken).rows == 30
    tar = broken / "00001.tar"
    data = bytearray(tar.read_bytes())
    data[700] ^= 1
    tar.write_bytes(data)

    with pytest.raises(InputError, match=r"00001\.tar was changed from outside: .* another sha256"):
        open_export(broken)


def test_a_row_count_that_differs_from_the_shards_is_refused(export: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(export, tmp_path / "broken")
    manifest = json.loads((broken / "manifest.json").read_text())
    manifest["shards"][0]["rows"] += 1
    (broken / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="says 31 rows, its shards hold 30"):
        take(broken, 9)


def test_a_sample_whose_picture_cannot_be_decoded_is_named() -> None:
    with pytest.raises(InputError, match=r"0\.tar:000000001 holds no picture"):
        decode(Encoded("0.tar:000000001", b"<html>", "a cat"), 16)
