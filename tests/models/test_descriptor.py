"""A descriptor of the user's: TorchScript, as SSCD is published."""

import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.models.descriptor import check_descriptor, load_descriptor
from pipeline.words.errors import InputError

SIZE = 32


class Means(torch.nn.Module):
    """The mean colours of 4×4 areas: as a network, but of known values."""

    def forward(self, pictures):
        return torch.nn.functional.avg_pool2d(pictures, 8).flatten(1)


class Whole(torch.nn.Module):
    def forward(self, pictures):
        return pictures * 2


def script(path: Path, module: torch.nn.Module) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(module.eval()), str(path))
    return path


def test_pictures_are_given_as_the_network_wants_them(tmp_path):
    network = load_descriptor(str(script(tmp_path / "means.pt", Means())), SIZE)
    red = np.zeros((50, 70, 3), np.uint8)
    red[..., 0] = 255
    (vector,) = network.layer_of([network.prepare(red)])
    by_channel = vector.reshape(3, 16)
    wanted = [(1 - 0.485) / 0.229, -0.456 / 0.224, -0.406 / 0.225]
    assert by_channel == pytest.approx(np.repeat(wanted, 16).reshape(3, 16), abs=1e-4)
    assert check_descriptor(str(tmp_path / "means.pt"), SIZE) == 48


def test_what_is_no_descriptor_is_named(tmp_path):
    def said(path: Path) -> str:
        with pytest.raises(InputError) as error:
            check_descriptor(str(path), SIZE)
        line = str(error.value)
        assert line.startswith("dedup.descriptor: ")
        assert "\n" not in line
        return line

    assert "missing.pt does not exist" in said(tmp_path / "missing.pt")
    (tmp_path / "text.pt").write_text("no network")
    assert "text.pt is no TorchScript (" in said(tmp_path / "text.pt")
    (tmp_path / "pickle.pt").write_bytes(pickle.dumps({"a": 1}))
    assert "pickle.pt is no TorchScript (" in said(tmp_path / "pickle.pt")
    torch.save({"a": torch.zeros(3)}, tmp_path / "weights.pt")
    assert "weights.pt is no TorchScript (" in said(tmp_path / "weights.pt")
    whole = said(script(tmp_path / "whole.pt", Whole()))
    assert "gives an array of shape (2, 3, 32, 32) for two pictures" in whole


def test_a_network_for_another_size_says_so(tmp_path):
    class Fixed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.last = torch.nn.Linear(3 * 16 * 16, 8)

        def forward(self, pictures):
            return self.last(pictures.flatten(1))

    path = str(script(tmp_path / "fixed.pt", Fixed()))
    with pytest.raises(InputError, match=r"cannot look at a picture of 32×32 \(.*descriptor_size"):
        check_descriptor(path, SIZE)
    assert check_descriptor(path, 16) == 8
