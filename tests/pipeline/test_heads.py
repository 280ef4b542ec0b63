"""Heads on CLIP vectors, compared with the same arithmetic in numpy."""

import pickle
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from planned_run import pairs
from safetensors.numpy import save_file

from pipeline.config.job import Job
from pipeline.config.load import parse_job
from pipeline.config.paths import with_absolute_paths
from pipeline.config.sections import EmbedConfig, Head, ImagesConfig
from pipeline.models.clip import load_clip
from pipeline.models.heads.base import HeadKind, Judge
from pipeline.models.heads.registry import heads_of, registered
from pipeline.words.errors import InputError

DIM = 12
RNG = np.random.default_rng(0)


@dataclass
class Space:
    """A CLIP model's vectors of width `dim`; `prompts` are those of the texts asked for."""

    dim: int = DIM
    logit_scale: float = 100.0
    prompts: np.ndarray | None = None
    asked: list[str] = field(default_factory=list)

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        assert self.prompts is not None, "a head of weights asks for no prompts"
        self.asked.extend(texts)
        return self.prompts


def made(head: Head) -> HeadKind:
    """A job with only this head."""
    embed = EmbedConfig(model="winnow-tiny")
    [found] = heads_of(Job(input="x.csv", embed=embed, images=ImagesConfig(heads=(head,))))
    return found


def save(path: Path, *shapes: tuple[int, int], bias: bool = True) -> list[tuple]:
    """Random layers in a safetensors file, and the layers."""
    layers, tensors = [], {}
    for i, shape in enumerate(shapes):
        weight = RNG.normal(size=shape).astype(np.float32)
        own = RNG.normal(size=shape[0]).astype(np.float32) if bias else np.zeros(shape[0])
        tensors[f"layers.{i}.weight"] = weight
        if bias:
            tensors[f"layers.{i}.bias"] = own
        layers.append((weight, own))
    save_file(tensors, path)
    return layers


def weighted(path: Path, kind: str = "linear", **options) -> HeadKind:
    return made(Head(name="art", kind=kind, weights=str(path), **options))


def judge_of(head: HeadKind, dim: int = DIM) -> Judge:
    return head.load(Space(dim))


def vectors(count: int = 7) -> np.ndarray:
    found = RNG.normal(size=(count, DIM))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("activation", ["none", "sigmoid"])
def test_a_linear_head(tmp_path: Path, activation: str, bias: bool):
    ((weight, own),) = save(tmp_path / "h.safetensors", (1, DIM), bias=bias)
    head = weighted(tmp_path / "h.safetensors", activation=activation)
    x = vectors()
    expected = (x.astype(float) @ weight.T + own)[:, 0]
    if activation == "sigmoid":
        expected = 1 / (1 + np.exp(-expected))
    scores = judge_of(head)(x)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, expected, atol=1e-5)


@pytest.mark.parametrize("hidden", ["none", "relu"])
def test_an_mlp_head(tmp_path: Path, hidden: str):
    layers = save(tmp_path / "h.safetensors", (8, DIM), (4, 8), (1, 4))
    head = weighted(tmp_path / "h.safetensors", "mlp", hidden_activation=hidden)
    x = vectors()
    expected = x.astype(float)
    for i, (weight, bias) in enumerate(layers):
        expected = expected @ weight.T + bias
        if hidden == "relu" and i < 2:
            expected = np.maximum(expected, 0)
    np.testing.assert_allclose(judge_of(head)(x), expected[:, 0], atol=1e-4)


def test_a_sigmoid_of_large_numbers_does_not_overflow(tmp_path: Path):
    save_file({"layers.0.weight": np.full((1, 1), 1e4, np.float32)}, tmp_path / "h.safetensors")
    head = weighted(tmp_path / "h.safetensors", activation="sigmoid")
    with np.errstate(all="raise"):
        scores = judge_of(head, 1)(np.array([[-1], [0], [1]], np.float32))
    assert scores.tolist() == [0, 0.5, 1]


def test_a_zeroshot_head_is_the_softmax_share_of_its_prompts():
    head = Head(name="gore", kind="zeroshot", positive=("p1", "p2"), negative=("n1", "n2", "n3"))
    prompts = vectors(5).astype(np.float16)
    space = Space(logit_scale=50.0, prompts=prompts)
    x = vectors()
    logits = 50.0 * x.astype(float) @ prompts.astype(float).T
    share = np.exp(logits - logits.max(axis=1, keepdims=True))
    expected = share[:, :2].sum(axis=1) / share.sum(axis=1)
    np.testing.assert_allclose(made(head).load(space)(x), expected, atol=1e-5)
    assert space.asked == ["p1", "p2", "n1", "n2", "n3"]


@pytest.mark.slow
def test_a_zeroshot_head_distinguishes_cats_from_kangaroos(drawings):
    from pipeline.demo.world import Scene, caption, draw

    clip = load_clip("winnow-tiny")
    cat, ship = (Scene(subject, "wood", "hill") for subject in ("cat", "ship"))
    head = Head(name="cat", kind="zeroshot", positive=(caption(cat),), negative=(caption(ship),))
    judge = made(head).load(clip)
    pictures = [draw(s, np.random.default_rng(i), 96) for s in (cat, ship) for i in range(4)]
    found = clip.encode_images(np.stack([clip.preprocess(p) for p in pictures]))
    scores = judge(found.astype(np.float32))
    assert scores[:4].mean() > 0.8
    assert scores[4:].mean() < 0.2


def test_weights_of_another_width_are_refused_by_check_and_by_load(tmp_path: Path):
    save(tmp_path / "h.safetensors", (1, 768))
    head = weighted(tmp_path / "h.safetensors")
    with pytest.raises(InputError, match=r"heads\[0\].weights: made for vectors of width 768"):
        head.check(DIM)
    with pytest.raises(InputError, match=f"width 768, `embed.model` gives {DIM}"):
        judge_of(head)
    head.check(None)  # the width is not known yet
    head.check(768)


@pytest.mark.parametrize(
    ("tensors", "expected"),
    [
        ({"weight": (1, DIM)}, r"layers\.0\.weight .*\{'weight': \[1, 12\]\} found"),
        ({"layers.0.weight": (2, DIM)}, "with one output"),
        ({"layers.0.weight": (DIM,)}, r"'layers\.0\.weight': \[12\]"),
        ({"layers.0.weight": (1, DIM), "layers.0.bias": (2,)}, r"'layers\.0\.bias': \[2\]"),
        ({"layers.0.weight": (4, DIM), "layers.1.weight": (1, 5)}, "are expected"),
    ],
    ids=["names", "outputs", "flat", "bias", "chain"],
)
def test_weights_of_another_shape_are_refused(tmp_path: Path, tensors, expected: str):
    arrays = {name: np.zeros(shape, np.float32) for name, shape in tensors.items()}
    save_file(arrays, tmp_path / "h.safetensors")
    with pytest.raises(InputError, match=expected):
        weighted(tmp_path / "h.safetensors", "mlp").check(DIM)


def test_a_linear_head_has_one_layer(tmp_path: Path):
    save(tmp_path / "h.safetensors", (4, DIM), (1, 4))
    with pytest.raises(InputError, match=r"one layer, 2 found; kind: mlp\?"):
        weighted(tmp_path / "h.safetensors").check(DIM)


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("the pickle was loaded",))


@pytest.mark.parametrize("name", ["head.pth", "head.bin", "head.safetensors"])
def test_a_pickle_is_never_loaded(tmp_path: Path, name: str):
    (tmp_path / name).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(InputError, match="is not safetensors"):
        weighted(tmp_path / name).check(DIM)


def test_the_digest_depends_on_weights_and_the_settings_on_prompts(tmp_path: Path):
    save(tmp_path / "a.safetensors", (1, DIM))
    save(tmp_path / "b.safetensors", (1, DIM))
    (tmp_path / "c.safetensors").write_bytes((tmp_path / "a.safetensors").read_bytes())
    a, b, c = (weighted(tmp_path / f"{n}.safetensors").digest() for n in "abc")
    assert a == c != b
    one, two = (Head(name="x", kind="zeroshot", positive=("p",), negative=(n,)) for n in ("n", "m"))
    assert (made(one).digest(), made(two).digest()) == (None, None)
    assert made(one).settings() != made(two).settings()


def tiny_head(path: Path) -> dict[str, str]:
    save_file({"layers.0.weight": np.eye(1, 128, dtype=np.float32)}, path)
    return {"name": "first", "kind": "linear", "weights": str(path)}


@pytest.mark.parametrize("only_if", [None, "caption like '%number 1' or clip_score is null"])
def test_the_stage_measures_where_there_is_a_vector(plan_run, tmp_path: Path, only_if):
    images = {"nsfw": None, "heads": [tiny_head(tmp_path / "h.safetensors")], "only_if": only_if}
    model = {"embed": {"model": "winnow-tiny"}, "audit_fraction": 0}
    planned = plan_run(pairs(3), images=images, **model)
    planned.make(*planned.caption_stages)
    numbers = [int(row["caption"].split()[-1]) for row in planned.rows(0)]
    planned.commit_part("download", 0, [{"status": "success"}] * 3)
    own = np.zeros((3, 128))
    own[:, 0] = [n / 10 for n in numbers]
    planned.commit_vectors(0, own, [None if n == 2 else 0.3 for n in numbers])
    planned.make("heads")
    scores = {int(c.split()[-1]): cells["first"] for c, cells in planned.read("heads").items()}
    expected = {0: 0.0 if only_if is None else None, 1: 0.1, 2: None}
    assert scores == pytest.approx(expected, abs=1e-3)


def test_a_shard_without_any_vector_is_all_null(plan_run, tmp_path: Path):
    images = {"nsfw": None, "heads": [tiny_head(tmp_path / "h.safetensors")]}
    planned = plan_run(pairs(2), images=images, embed={"model": "winnow-tiny"})
    planned.make(*planned.caption_stages)
    planned.commit_part("download", 0, [{"status": "failed", "fetch_reason": "timeout"}] * 2)
    planned.commit_vectors(0, np.zeros((2, 0)), [None, None])
    planned.make("heads")
    assert [cells["first"] for cells in planned.read("heads").values()] == [None, None]


def job_of(**head: str) -> Job:
    heads = [{"name": "art"} | head]
    values = {"input": "x.csv", "embed": {"model": "winnow-tiny"}, "images": {"heads": heads}}
    return parse_job(values, "job.yaml")


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ({"kind": "lineal"}, r"heads\[0\].kind: there is no .* `lineal`; did you mean `linear`\?"),
        ({"kind": "svm"}, r"heads\[0\].kind: .* `svm`; there are linear, mlp, zeroshot"),
        ({"kind": "linear"}, r"heads\[0\]: key `weights` is missing"),
        (
            {"kind": "linear", "weights": "h", "hidden_activation": "relu"},
            r"heads\[0\]: unknown key `hidden_activation`; did you mean `activation`\?",
        ),
        (
            {"kind": "mlp", "weights": "h", "activation": "tanh"},
            r"heads\[0\]: `activation`: .*'none' or 'sigmoid'",
        ),
        ({"kind": "zeroshot", "positive": ["p"]}, r"heads\[0\]: key `negative` is missing"),
    ],
)
def test_a_kind_and_its_keys_are_checked(head: dict[str, str], expected: str):
    with pytest.raises(InputError, match=expected):
        heads_of(job_of(**head))


def test_settings_hold_keys_that_change_the_score_but_no_path(tmp_path: Path):
    plain = weighted(tmp_path / "h.safetensors", "mlp", hidden_activation="none")
    assert plain.settings() == {"kind": "mlp", "version": 1}
    relu = weighted(tmp_path / "h.safetensors", "mlp", hidden_activation="relu")
    assert relu.settings() == plain.settings() | {"hidden_activation": "relu"}


def test_a_relative_path_of_weights_is_made_absolute(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "h.safetensors").touch()
    [head] = heads_of(with_absolute_paths(job_of(kind="linear", weights="h.safetensors")))
    assert head.config.weights == str(tmp_path / "h.safetensors")


@pytest.mark.parametrize(
    "scores",
    [np.zeros((3, 1), np.float32), np.zeros(2, np.float32), np.zeros(3)],
    ids=["columns", "rows", "float64"],
)
def test_scores_of_another_type_or_shape_raise_a_value_error(tmp_path: Path, scores: np.ndarray):
    head = weighted(tmp_path / "h.safetensors")
    with pytest.raises(
        ValueError, match=r"heads\[0\]: the head `art` \(linear\) gave .* 3 vectors"
    ):
        head.score(lambda vectors: scores, vectors(3))


def test_the_builtin_kinds_of_heads():
    assert list(registered()) == ["linear", "mlp", "zeroshot"]
