"""Detoxify's checkpoints, converted once and read without unpickling."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from pipeline.config.captions import ToxicityConfig
from pipeline.config.job import Job
from pipeline.measure.captions.toxicity import ToxicityStage
from pipeline.models import convert_detoxify, toxicity_detoxify
from pipeline.models import precision as precision_module
from pipeline.models.toxicity import (
    check_toxicity,
    load_toxicity,
    toxicity_arithmetic,
    toxicity_classes,
    toxicity_digest,
)
from pipeline.models.toxicity_detoxify import load_detoxify
from pipeline.words.errors import InputError

CLASSES = ["toxic", "severe_toxic", "obscene", "threat", "insult", "identity_hate"]
COLUMNS = ("toxicity", "severe_toxicity", "obscene", "threat", "insult", "identity_attack")
WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *["a", "kangaroo", "made", "of", "cheese", "you", "are", "bad"],
]
CAPTIONS = [
    "a kangaroo made of cheese",
    "you are bad",
    "",
    "袋鼠",
    "bad " * 300,  # longer than the network has positions
    "a kangaroo",
]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A checkpoint in Detoxify's format, of a small random BERT, and Detoxify's scores."""
    from pipeline.models.torchvision_shim import ensure_torchvision

    ensure_torchvision()
    import torch
    from detoxify import Detoxify
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

    folder = tmp_path_factory.mktemp("detoxify")
    base = folder / "base"  # in place of the hub's `bert-base-uncased`
    base.mkdir()
    (base / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    BertTokenizer(str(base / "vocab.txt"), model_max_length=48).save_pretrained(base)
    config = BertConfig(
        vocab_size=len(WORDS), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=48,
    )  # fmt: skip
    config.save_pretrained(base)
    torch.manual_seed(0)
    config.num_labels = len(CLASSES)
    network = BertForSequenceClassification(config)
    for parameter in network.parameters():
        parameter.data.mul_(8)  # scores far from 0.5 and from each other

    def save(
        name: str, model_type: str, classes: list[str] = CLASSES, outputs: int = len(CLASSES)
    ) -> Path:
        arch = {
            "model_type": model_type, "model_name": "BertForSequenceClassification",
            "tokenizer_name": "BertTokenizer", "num_classes": outputs,
        }  # fmt: skip
        settings = {"arch": {"args": arch}, "dataset": {"args": {"classes": classes}}}
        torch.save({"config": settings, "state_dict": network.state_dict()}, folder / name)
        return folder / name

    # Detoxify itself loads `model_type` from the hub: to compute its scores it needs a local one.
    judge = Detoxify(checkpoint=str(save("local.ckpt", str(base))))
    return {
        "base": base,
        "checkpoint": save("published.ckpt", "bert-base-uncased"),
        "moved": save("moved.ckpt", "bert-base-uncased", [*CLASSES[1:], "toxic"]),
        "fewer": save("fewer.ckpt", "bert-base-uncased", [*CLASSES[:4]], outputs=6),
        "other": save("other.ckpt", "bert-base-uncased", ["rude", *CLASSES[1:]]),
        "expected": judge.predict(CAPTIONS),
        "folder": folder,
    }


@pytest.fixture(scope="module")
def converted(published) -> Path:
    out = published["folder"] / "converted"
    convert_detoxify.convert(out=out, checkpoint=published["checkpoint"], config=published["base"])
    return out


def scorer(folder: Path, **changes):
    return load_toxicity(ToxicityConfig(model="original", checkpoint=str(folder), **changes))


def test_scores_equal_those_of_detoxify(published, converted: Path):
    scores = scorer(converted)(CAPTIONS)
    assert tuple(scores) == COLUMNS == tuple(published["expected"])
    for name in COLUMNS:
        np.testing.assert_allclose(scores[name], published["expected"][name], atol=1e-5)
        assert np.ptp(scores[name]) > 0.1  # not one number for all
    assert len({tuple(column) for column in scores.values()}) == len(COLUMNS)


def convert(published, name: str, out: Path) -> ToxicityConfig:
    convert_detoxify.convert(out=out, checkpoint=published[name], config=published["base"])
    return ToxicityConfig(model="unbiased", checkpoint=str(out))


def test_classes_are_found_by_their_names_and_not_by_their_places(published, tmp_path: Path):
    config = convert(published, "moved", tmp_path / "moved")
    assert toxicity_classes(config) == (*COLUMNS[1:], "toxicity")
    check_toxicity(config)
    scores = load_toxicity(config)(CAPTIONS)
    np.testing.assert_allclose(
        scores["toxicity"], published["expected"]["identity_attack"], atol=1e-5
    )


def test_outputs_that_are_no_classes_are_no_columns(published, tmp_path: Path):
    config = convert(published, "fewer", tmp_path / "fewer")
    assert toxicity_classes(config) == COLUMNS[:4]
    scores = load_toxicity(config)(CAPTIONS)
    assert tuple(scores) == COLUMNS[:4]
    np.testing.assert_allclose(scores["threat"], published["expected"]["threat"], atol=1e-5)


def test_every_class_is_a_column_of_the_stage(converted: Path, plan_run):
    sections = {"toxicity": {"model": "original", "checkpoint": str(converted)}, "language": False}
    rows = [{"url": "https://a.example/1", "caption": CAPTIONS[1]}]
    planned = plan_run(rows, captions=sections)
    planned.make("toxicity")
    cells = planned.read("toxicity")[CAPTIONS[1]]
    assert {name: type(cell) for name, cell in cells.items() if name != "uid"} == dict.fromkeys(
        COLUMNS, float
    )
    assert planned.plan.by_name["toxicity"].recipe["settings"]["classes"] == list(COLUMNS)


@pytest.mark.parametrize("batch_size", [1, 2, 100])
def test_the_batch_size_changes_nothing(published, converted: Path, batch_size: int):
    scores = scorer(converted, batch_size=batch_size)(CAPTIONS)
    np.testing.assert_allclose(scores["toxicity"], published["expected"]["toxicity"], atol=1e-5)


def test_a_tokenizer_without_a_limit_is_cut_at_the_positions(published, converted: Path, tmp_path):
    import shutil

    shutil.copytree(converted, tmp_path / "bare")
    for name in ("tokenizer_config.json", "tokenizer.json"):
        (tmp_path / "bare" / name).unlink(missing_ok=True)
    (tmp_path / "bare" / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    scores = scorer(tmp_path / "bare")(CAPTIONS)
    np.testing.assert_allclose(scores["insult"], published["expected"]["insult"], atol=1e-5)


def test_the_converted_checkpoint_holds_only_tensors(converted: Path):
    names = {path.name for path in converted.iterdir()}
    assert {"model.safetensors", "config.json"} <= names
    assert not {name for name in names if name.endswith((".bin", ".pt", ".ckpt", ".pkl"))}


def test_the_command_converts_and_names_the_classes(published, tmp_path: Path):
    import typer

    command = typer.Typer()
    command.command()(convert_detoxify.convert)
    words = ["--out", tmp_path / "out", "--checkpoint", published["checkpoint"]]
    result = CliRunner().invoke(command, list(map(str, [*words, "--config", published["base"]])))
    assert result.exit_code == 0, result.output
    assert "toxic, severe_toxic" in result.output
    assert (tmp_path / "out" / "model.safetensors").is_file()


def test_a_checkpoint_of_other_classes_is_refused(published, tmp_path: Path):
    with pytest.raises(InputError, match="none of its classes is toxicity: rude, severe_toxic"):
        convert_detoxify.convert(
            out=tmp_path, checkpoint=published["other"], config=published["base"]
        )


def test_a_file_that_is_not_a_checkpoint_is_refused(published, tmp_path: Path):
    import torch

    torch.save([1], tmp_path / "list.pt")
    with pytest.raises(InputError, match="not Detoxify's"):
        convert_detoxify.convert(out=tmp_path, checkpoint=tmp_path / "list.pt")
    with pytest.raises(InputError, match="does not exist"):
        convert_detoxify.convert(out=tmp_path, checkpoint=tmp_path / "none.ckpt")
    with pytest.raises(InputError, match="Detoxify knows original"):
        convert_detoxify.convert(out=tmp_path, model="orignal")


class Evil:
    def __reduce__(self):
        return print, ("code of the checkpoint ran",)


def test_a_checkpoint_that_would_run_code_is_refused_and_runs_none(tmp_path: Path, capsys):
    import torch

    torch.save({"config": {}, "state_dict": {"a": Evil()}}, tmp_path / "evil.ckpt")
    with pytest.raises(InputError, match="holds more than tensors and plain values, which could"):
        convert_detoxify.convert(out=tmp_path / "out", checkpoint=tmp_path / "evil.ckpt")
    assert "code of the checkpoint ran" not in capsys.readouterr().out


@pytest.mark.parametrize(("precision", "most"), [("fp32", 1e-5), ("int8", 0.1)])
def test_compiled_scores_are_those_of_detoxify(
    published, converted: Path, monkeypatch, precision, most
):
    monkeypatch.setattr(toxicity_detoxify, "LEAST_PARAMETERS", 0)
    load_detoxify.cache_clear()
    score = scorer(converted, precision=precision)
    found = score([*CAPTIONS, *CAPTIONS])  # repeats have one score
    for name in COLUMNS:
        assert (found[name][: len(CAPTIONS)] == found[name][len(CAPTIONS) :]).all()
        np.testing.assert_allclose(
            found[name][: len(CAPTIONS)], published["expected"][name], atol=most
        )
    config = ToxicityConfig(model="original", checkpoint=str(converted), precision=precision)
    facts = toxicity_arithmetic(config, "")["Detoxify"]
    assert (facts["engine"], facts["precision"]) == ("OpenVINO", precision)
    load_detoxify.cache_clear()


def test_auto_takes_only_what_agrees(published, converted: Path, monkeypatch):
    monkeypatch.setattr(toxicity_detoxify, "LEAST_PARAMETERS", 0)
    monkeypatch.setattr(precision_module, "_GAIN", 0.0)  # any speed will do
    load_detoxify.cache_clear()
    found = {}
    for most in (0.5, 0.0):
        scorer(converted, max_difference=most)(CAPTIONS)
        config = ToxicityConfig(model="original", checkpoint=str(converted), max_difference=most)
        found[most] = toxicity_arithmetic(config, "")["Detoxify"]
    load_detoxify.cache_clear()
    assert found[0.0]["precision"] == "fp32"
    assert found[0.5]["precision"] == "int8"
    assert 0 < found[0.5]["difference"] < 0.5


def test_rows_that_cheaper_columns_leave_out_are_not_measured(converted: Path, plan_run):
    toxicity = {
        "model": "original", "checkpoint": str(converted), "only_if": "caption_words >= 3"
    }  # fmt: skip
    rows = [
        {"url": f"https://a.example/{i}", "caption": caption}
        for i, caption in enumerate(("a kangaroo", "you are bad"))
    ]
    planned = plan_run(rows, captions={"toxicity": toxicity, "language": False}, audit_fraction=0.0)
    planned.make("captions", "toxicity")
    cells = planned.read("toxicity")
    assert cells["a kangaroo"]["toxicity"] is None
    assert 0 < cells["you are bad"]["toxicity"] < 1


def test_every_class_has_a_rule(converted: Path):
    """A text that is a threat and little else leaves too."""
    toxicity = {"model": "original", "checkpoint": str(converted)}
    job = Job.model_validate({"name": "x", "input": "x", "captions": {"toxicity": toxicity}})
    rules = ToxicityStage(job).default_rules()
    assert [rule.when for rule in rules] == [f"{name} > 0.8" for name in COLUMNS]
    assert {rule.reason for rule in rules} == {"toxic_caption"}


def test_the_digest_follows_the_weights(converted: Path, tmp_path: Path):
    import shutil

    config = ToxicityConfig(model="original", checkpoint=str(converted))
    shutil.copytree(converted, tmp_path / "copy")
    copy = ToxicityConfig(model="original", checkpoint=str(tmp_path / "copy"))
    assert toxicity_digest(copy) == toxicity_digest(config)
    weights = tmp_path / "copy" / "model.safetensors"
    weights.write_bytes(weights.read_bytes() + b"\0")
    assert toxicity_digest(copy) != toxicity_digest(config)


@pytest.mark.parametrize("gone", ["model.safetensors", "config.json"])
def test_a_missing_file_is_named(converted: Path, tmp_path: Path, gone: str):
    import shutil

    shutil.copytree(converted, tmp_path / "copy")
    (tmp_path / "copy" / gone).unlink()
    with pytest.raises(InputError, match=f"{gone} is missing; .*convert_detoxify"):
        check_toxicity(ToxicityConfig(model="original", checkpoint=str(tmp_path / "copy")))


def test_a_config_without_the_class_is_named(converted: Path, tmp_path: Path):
    import shutil

    shutil.copytree(converted, tmp_path / "copy")
    (tmp_path / "copy" / "config.json").write_text('{"id2label": {"0": "LABEL_0"}}')
    with pytest.raises(InputError, match=r"config\.json names no class `toxicity`"):
        check_toxicity(ToxicityConfig(model="original", checkpoint=str(tmp_path / "copy")))


def test_a_missing_tokenizer_is_named(converted: Path, tmp_path: Path):
    for name in ("model.safetensors", "config.json"):
        (tmp_path / name).write_bytes((converted / name).read_bytes())
    with pytest.raises(InputError, match="has no tokenizer"):
        check_toxicity(ToxicityConfig(model="original", checkpoint=str(tmp_path)))
    check_toxicity(ToxicityConfig(model="original", checkpoint=str(converted)))
