"""Runs over pictures that say something of themselves: reasons, columns, gates, older parts."""

import io
from pathlib import Path

import pytest
from lab import Lab
from PIL import Image
from stored_samples import picture, write_tar

from pipeline.fetch.stored import StoredPictures
from pipeline.inspect.explain import explain
from pipeline.inspect.query import query
from pipeline.inspect.report.write import write_report
from pipeline.inspect.stats import stats
from pipeline.lifecycle.forget import forget
from pipeline.table.columns import LATE, SIGNALS, WARNINGS, Column
from pipeline.words.progress import Lines

XMP = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
 xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""
 xmlns:plus="http://ns.useplus.org/ldf/xmp/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" {}/></rdf:RDF></x:xmpmeta>"""
STATED = {
    "reserved": 'plus:DataMining="http://ns.useplus.org/ldf/vocab/DMI-PROHIBITED"',
    "made": 'Iptc4xmpExt:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/'
            'trainedAlgorithmicMedia"',
    "signed": 'dc:creator="Jane Doe" dc:rights="(c) Jane Doe"',
    "plain": "",
}  # fmt: skip
GATES = {"min_image_size": 32}


def bytes_of(seed: int, stated: str) -> bytes:
    out = io.BytesIO()
    with Image.open(io.BytesIO(picture(seed, ".png"))) as image:
        image.save(out, "jpeg", quality=95, xmp=XMP.format(stated).encode())
    return out.getvalue()


@pytest.fixture
def tar(lab: Lab) -> str:
    files = []
    for i, (name, stated) in enumerate(STATED.items()):
        files += [(f"{name}.jpg", bytes_of(i, stated)), (f"{name}.txt", f"a {name} cat".encode())]
    return write_tar(lab.folder / "x.tar", files)


def told(run) -> dict[str, tuple]:
    names = ", ".join(column.name for column in SIGNALS)
    rows = query(run, f"select caption, reason, {names} from samples").to_pylist()
    return {row.pop("caption").split()[1]: tuple(row.values()) for row in rows}


def test_what_pictures_say_becomes_reasons_and_columns(lab: Lab, tar: str):
    rules = [{"reason": "ai_generated", "when": "ai_generated_declared is not null"}]
    result = lab.run(lab.job(input=tar, download=GATES, rules=rules))
    assert told(result.run) == {
        "reserved": ("opted_out_metadata", "plus: DMI-PROHIBITED", None, None, None),
        "made": ("ai_generated", None, "iptc: trainedAlgorithmicMedia", None, None),
        "signed": (None, None, None, "(c) Jane Doe", "Jane Doe"),
        "plain": (None, None, None, None, None),
    }
    found = stats(result.run)
    assert (found["kept"], found["conserved"]) == (2, True)
    (uid,) = query(result.run, "select uid from samples where reason = 'opted_out_metadata'")[
        "uid"
    ].to_pylist()
    assert "plus: DMI-PROHIBITED" in str(explain(result.run, uid))
    with result.run.folder.local(
        next(f"parts/{n}/00000.tar" for n in result.run.folder.names("parts") if "download" in n)
    ) as path:
        assert bytes_of(0, STATED["reserved"])[-200:] not in path.read_bytes()


def test_the_gate_may_be_turned_off_and_on_again(lab: Lab, tar: str):
    job = lab.job(input=tar, download=GATES)
    first = lab.run(job)
    assert stats(first.run)["reasons"] == {"opted_out_metadata": 1}
    second = lab.run(job, "download.respect_metadata=false")
    assert stats(second.run)["kept"] == len(STATED)
    third = lab.run(job)
    assert stats(third.run)["reasons"] == {"opted_out_metadata": 1}
    assert third.cached["download"] is True
    assert third.digest == first.digest


def without(patch: pytest.MonkeyPatch, columns: tuple[Column, ...]) -> None:
    """Have the stage write parts as a version did that had no such columns yet."""
    from pipeline.measure import download

    own = tuple(c for c in download.FETCH_COLUMNS if c not in columns)
    patch.setattr(download, "FETCH_COLUMNS", own)
    patch.setattr(download, "LATE", tuple(c for c in LATE if c not in columns))


def test_the_warnings_of_decoders_are_null_in_earlier_parts_and_cause_no_fetch(
    lab: Lab, tmp_path: Path, monkeypatch
):
    cut = bytes_of(1, STATED["plain"])[:-2]
    pair = [("a.jpg", cut), ("a.txt", b"a cut cat"), ("b.jpg", bytes_of(2, STATED["signed"])),
            ("b.txt", b"a whole cat")]  # fmt: skip
    tar = write_tar(tmp_path / "y.tar", pair)
    job = lab.job(input=tar, download=GATES)
    asked = "select caption, decode_warnings, creator from samples order by caption"
    read: list[object] = []
    original = StoredPictures.read
    monkeypatch.setattr(
        StoredPictures, "read", lambda *args: read.append(args[1]) or original(*args)
    )
    with monkeypatch.context() as patch:
        without(patch, (WARNINGS,))
        first = lab.run(job)
    assert len(read) == 2
    second = lab.run(job)
    assert all(second.cached.values())
    assert len(read) == 2
    assert [list(row.values()) for row in query(second.run, asked).to_pylist()] == [
        ["a cut cat", None, None], ["a whole cat", None, "Jane Doe"]
    ]  # fmt: skip
    assert first.digest == second.digest
    rules = [{"reason": "x_cut", "when": "decode_warnings like '%end_missing%'"}]
    strict = lab.run(lab.job(input=tar, download=GATES, rules=rules))
    assert stats(strict.run)["kept"] == 2  # nothing is known of what is wrong with them
    new = lab.run(lab.job(input=tar, download=GATES | {"image_size": 128}, rules=rules))
    assert stats(new.run)["reasons"] == {"x_cut": 1}
    assert "end_missing" in str(explain(new.run, query(
        new.run, "select uid from samples where reason = 'x_cut'")["uid"][0].as_py()))  # fmt: skip


def test_parts_of_an_earlier_version_stay_and_have_nulls(lab: Lab, tar: str, monkeypatch):
    with monkeypatch.context() as patch:
        without(patch, LATE)
        patch.setattr("pipeline.measure.download._declared", lambda table: {})
        gates = GATES | {"respect_metadata": False, "only_if": "caption not like '%signed%'"}
        job = lab.job(input=tar, download=gates, shard_size=2, audit_fraction=0)
        first = lab.run(job)
    assert stats(first.run)["kept"] == 3
    read = []
    original = StoredPictures.read
    monkeypatch.setattr(
        StoredPictures, "read", lambda *args: read.append(args[1]) or original(*args)
    )
    second = lab.run(lab.job(input=tar, download=GATES, shard_size=2, audit_fraction=0))
    assert len(read) == 1
    found = told(second.run)
    # The row that was read now was read for what it says; the others stay as they were.
    nothing = (None, None, None, None, None)
    assert found == dict.fromkeys(STATED, nothing) | {
        "signed": (None, None, None, "(c) Jane Doe", "Jane Doe")
    }
    assert stats(second.run)["conserved"] is True
    again = lab.run(lab.job(input=tar, download=GATES, shard_size=2, audit_fraction=0))
    assert all(again.cached.values())
    assert "Licence stated" in Path(write_report(again.run)).read_text()
    uids = query(again.run, "select uid from samples order by uid")["uid"].to_pylist()
    for uid in uids:
        assert not set(explain(again.run, uid)["passthrough"]) & {c.name for c in LATE}
    with (lab.folder / "said.txt").open("w") as stream:
        forget(again.run, [("uid", uids[0], "--uid")], False, Lines(stream))
    found = stats(again.run)
    assert (found["conserved"], found["reasons"]["forgotten"]) == (True, 1)


def test_the_report_counts_what_pictures_say(lab: Lab, tar: str):
    result = lab.run(lab.job(input=tar, download=GATES))
    page = Path(write_report(result.run)).read_text()
    for said in ("Reserved from training", "plus: DMI-PROHIBITED", "Made by a model",
                 "iptc: trainedAlgorithmicMedia", "opted_out_metadata"):  # fmt: skip
        assert said in page
    assert ">stored_in<" not in page
