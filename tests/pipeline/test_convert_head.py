"""Published heads, written here in their own layouts, give the same scores after conversion."""

import itertools
import pickle
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from test_heads import Space, made, vectors
from torch import nn

from pipeline.config.sections import Head
from pipeline.measure.pictures.heads import HeadsStage
from pipeline.models.convert_head import convert
from pipeline.models.published_heads import read_head
from pipeline.words.errors import InputError

WIDTH = 12


def linear_mse(width: int = WIDTH) -> nn.Sequential:
    """The layers of LAION's aesthetic predictor 2, narrower."""
    return nn.Sequential(
        nn.Linear(width, 32), nn.Dropout(0.2), nn.Linear(32, 16), nn.Dropout(0.2),
        nn.Linear(16, 8), nn.Dropout(0.1), nn.Linear(8, 4), nn.Linear(4, 1),
    ).eval()  # fmt: skip


def relu_mse() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(WIDTH, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 16), nn.ReLU(),
        nn.Dropout(0.2), nn.Linear(16, 8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 4), nn.ReLU(),
        nn.Linear(4, 1),
    ).eval()  # fmt: skip


def h14() -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in ((WIDTH, 8), (8, 16), (16, 8), (8, 6), (6, 5)):
        layers += [nn.Linear(before, after), nn.ReLU(), nn.Dropout(0.2)]
    return nn.Sequential(*layers, nn.Linear(5, 4), nn.Linear(4, 1)).eval()


def converted(source: Path, tmp_path: Path, capsys, x: np.ndarray) -> np.ndarray:
    """Scores of the converted head, in a job as the converter prints it."""
    import yaml

    out = tmp_path / "head.safetensors"
    convert(source, out)
    [entry] = yaml.safe_load(capsys.readouterr().out)
    head = made(Head(**entry))
    head.check(x.shape[1])
    return head.score(head.load(Space(x.shape[1])), x)


@pytest.mark.parametrize("make", [linear_mse, relu_mse, h14])
def test_layers_of_torch(tmp_path: Path, capsys, make):
    torch.manual_seed(0)
    network, x = make(), vectors(50)
    state = {f"layers.{name}": tensor for name, tensor in network.state_dict().items()}
    torch.save(state, tmp_path / "head.pth")
    with torch.no_grad():
        expected = network(torch.from_numpy(x)).numpy()[:, 0]
    np.testing.assert_allclose(converted(tmp_path / "head.pth", tmp_path, capsys, x), expected,
                               atol=1e-5)  # fmt: skip


def test_layers_without_activation_become_one(tmp_path: Path):
    state = {f"layers.{name}": tensor for name, tensor in linear_mse().state_dict().items()}
    torch.save(state, tmp_path / "head.pth")
    head, _ = read_head(tmp_path / "head.pth")
    assert [weight.shape for weight, _ in head.layers] == [(1, WIDTH)]
    assert (head.form, head.activation) == ("aesthetic predictor 2", "none")


def test_the_older_aesthetic_predictor(tmp_path: Path, capsys):
    network, x = nn.Linear(WIDTH, 1), vectors(20)
    torch.save(network.state_dict(), tmp_path / "sa_0_4_vit_l_14_linear.pth")
    with torch.no_grad():
        expected = network(torch.from_numpy(x)).numpy()[:, 0]
    found = converted(tmp_path / "sa_0_4_vit_l_14_linear.pth", tmp_path, capsys, x)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def nsfw_variables() -> dict[str, np.ndarray]:
    rng, sizes = np.random.default_rng(5), (WIDTH, 8, 16, 4, 1)
    found = {
        "layer_with_weights-1/mean": rng.normal(size=WIDTH) * 0.02,
        "layer_with_weights-1/variance": rng.uniform(5e-4, 2e-3, WIDTH),
    }
    for i, (before, after) in enumerate(itertools.pairwise(sizes)):
        found[f"layer_with_weights-{i + 2}/kernel"] = rng.normal(size=(before, after)) / before**0.5
        found[f"layer_with_weights-{i + 2}/bias"] = rng.normal(size=after) * 0.1
    return {name: array.astype(np.float32) for name, array in found.items()}


def nsfw_scores(variables: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    """LAION's detector: a normalisation, dense layers with ReLU, a sigmoid."""
    h = x.astype(float) - variables["layer_with_weights-1/mean"]
    h /= np.sqrt(variables["layer_with_weights-1/variance"].astype(float))
    for i in range(2, 6):
        own = f"layer_with_weights-{i}"
        h = h @ variables[f"{own}/kernel"] + variables[f"{own}/bias"]
        h = h if i == 5 else np.maximum(h, 0)
    return 1 / (1 + np.exp(-h[:, 0]))


def varint(value: int) -> bytes:
    found = b""
    while value > 127:
        found, value = found + bytes([value & 127 | 128]), value >> 7
    return found + bytes([value])


def bundle(variables: dict[str, np.ndarray]) -> tuple[bytes, bytes]:
    """TensorFlow's index and data files: one block of LevelDB, keys with shared prefixes."""

    def block(entries: list[tuple[bytes, bytes]]) -> bytes:
        out, before = b"", b""
        for key, value in entries:
            shared = next(
                (i for i, (a, b) in enumerate(zip(key, before, strict=False)) if a != b),
                min(len(key), len(before)),
            )
            own = key[shared:]
            out += varint(shared) + varint(len(own)) + varint(len(value)) + own + value
            before = key
        return out + struct.pack("<II", 0, 1)

    data, entries = b"", [(b"", b"\x08\x01")]
    for name, array in sorted(variables.items()):
        dims = b"".join(
            b"\x12" + varint(len(one)) + one for n in array.shape for one in [b"\x08" + varint(n)]
        )
        entry = b"\x08\x01\x12" + varint(len(dims)) + dims
        entry += b"\x20" + varint(len(data)) + b"\x28" + varint(array.nbytes) + b"\x35" + bytes(4)
        entries.append((f"{name}/.ATTRIBUTES/VARIABLE_VALUE".encode(), entry))
        data += array.tobytes()
    first = block(entries)
    handle = varint(0) + varint(len(first))
    second = block([(b"z", handle)])
    table = first + bytes(5)
    place = varint(len(table)) + varint(len(second))
    table += second + bytes(5)
    footer = (varint(0) + varint(0) + place).ljust(40, b"\0")
    return table + footer + struct.pack("<Q", 0xDB4775248B80FB57), data


@pytest.mark.parametrize("form", ["zip", "folder"])
def test_kerass_nsfw_detector_without_tensorflow(tmp_path: Path, capsys, form: str):
    variables, x = nsfw_variables(), vectors(50)
    index, data = bundle(variables)
    source = tmp_path / "clip_autokeras_binary_nsfw"
    (source / "variables").mkdir(parents=True)
    (source / "variables" / "variables.index").write_bytes(index)
    (source / "variables" / "variables.data-00000-of-00001").write_bytes(data)
    if form == "zip":
        with zipfile.ZipFile(tmp_path / "nsfw.zip", "w") as archive:
            for path in (source / "variables").iterdir():
                archive.write(path, f"{source.name}/variables/{path.name}")
        source = tmp_path / "nsfw.zip"
    found = converted(source, tmp_path, capsys, x)
    expected = nsfw_scores(variables, x)
    assert np.ptp(expected) > 0.05
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_port_of_the_nsfw_detector(tmp_path: Path, capsys):
    variables, x = nsfw_variables(), vectors(20)
    state = {f"norm.{n}": variables[f"layer_with_weights-1/{n}"] for n in ("mean", "variance")}
    for i in range(1, 5):
        state[f"linear_{i}.weight"] = variables[f"layer_with_weights-{i + 1}/kernel"].T.copy()
        state[f"linear_{i}.bias"] = variables[f"layer_with_weights-{i + 1}/bias"]
    torch.save({n: torch.from_numpy(a) for n, a in state.items()}, tmp_path / "head.pth")
    found = converted(tmp_path / "head.pth", tmp_path, capsys, x)
    np.testing.assert_allclose(found, nsfw_scores(variables, x), atol=1e-5)


def test_q16(tmp_path: Path, capsys):
    prompts, x = np.random.default_rng(6).normal(size=(2, WIDTH)).astype(np.float16), vectors(20)
    (tmp_path / "prompts.p").write_bytes(pickle.dumps(prompts, protocol=3))
    unit = prompts.astype(float) / np.linalg.norm(prompts.astype(float), axis=1, keepdims=True)
    logits = 100 * x @ unit.T
    expected = 1 / (1 + np.exp(logits[:, 0] - logits[:, 1]))
    found = converted(tmp_path / "prompts.p", tmp_path, capsys, x)
    np.testing.assert_allclose(found, expected, atol=1e-5)


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("the pickle was run",))


@pytest.mark.parametrize(
    ("name", "write", "expected"),
    [
        ("a.pth", lambda p: torch.save({"a": Bomb()}, p), "something else than tensors"),
        ("a.p", lambda p: p.write_bytes(pickle.dumps(Bomb())), "it names _pytest.outcomes"),
        ("a.p", lambda p: p.write_bytes(pickle.dumps(np.zeros((3, 4)))), "two vectors"),
        ("a.pth", lambda p: torch.save({"w": torch.zeros(2)}, p), "none of the forms"),
        ("a.pth", lambda p: torch.save(nn.Linear(4, 2).state_dict(), p), r"widths \[4, 2\]"),
        ("a.zip", lambda p: zipfile.ZipFile(p, "w").close(), "has no variables/variables.index"),
        ("a.npy", lambda p: p.write_bytes(b"x"), "neither torch's"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, name: str, write, expected: str):
    write(tmp_path / name)
    with pytest.raises(InputError, match=expected):
        read_head(tmp_path / name)


def test_a_cut_bundle_is_refused(tmp_path: Path):
    index, data = bundle(nsfw_variables())
    (tmp_path / "variables").mkdir()
    (tmp_path / "variables" / "variables.index").write_bytes(index)
    (tmp_path / "variables" / "variables.data-00000-of-00001").write_bytes(data[:-1])
    with pytest.raises(InputError, match="the data file is cut"):
        read_head(tmp_path)
    (tmp_path / "variables" / "variables.index").write_bytes(index[:-1])
    with pytest.raises(InputError, match="no table of LevelDB"):
        read_head(tmp_path)


def test_the_source_and_the_clip_model_are_recorded_and_another_model_is_said(
    tmp_path: Path, job_of, capsys
):
    torch.save(nn.Linear(128, 1).state_dict(), tmp_path / "head.pth")
    convert(tmp_path / "head.pth", tmp_path / "h.safetensors", "ViT-L-14 / openai")
    with safe_open(tmp_path / "h.safetensors", "np") as file:
        about = file.metadata()
    assert (about["source"], about["clip"], about["width"]) == (
        "head.pth",
        "ViT-L-14 / openai",
        "128",
    )
    assert len(about["sha256"]) == 64
    head = {"name": "art", "kind": "linear", "weights": str(tmp_path / "h.safetensors")}
    job = job_of([], images={"heads": [head]}, embed={"model": "winnow-tiny"})
    assert HeadsStage(job).notice() == (
        "images.heads[0].weights: made for vectors of ViT-L-14 / openai, `embed` has winnow-tiny; "
        "its scores mean nothing unless these are the same weights"
    )
    convert(tmp_path / "head.pth", tmp_path / "h.safetensors", "winnow-tiny")
    assert HeadsStage(job).notice() is None


def test_the_command_ends_with_one_line_and_2(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.models.convert_head", "gone.pth", "--out", "h.safetensors"]
        , cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == "convert_head: gone.pth does not exist; check the path\n"
