"""Convert a published head on CLIP vectors, once, to safetensors.

    python -m pipeline.models.convert_head sa_0_4_vit_l_14_linear.pth --out aesthetic.safetensors

Read are, as they are published:

- LAION's aesthetic predictor 1, `sa_0_4_vit_….pth` (github.com/LAION-AI/aesthetic-predictor, MIT),
  and 2, `sac+logos+ava1-l14-linearMSE.pth` and its siblings
  (github.com/christophschuhmann/improved-aesthetic-predictor, Apache-2.0);
- LAION's CLIP-based NSFW detector, `clip_autokeras_….zip` (or its unpacked folder), its port
  `clip_…_binary_nsfw_head.pth`, and `h14_nsfw.pth`
  (github.com/LAION-AI/CLIP-based-NSFW-Detector, MIT);
- Q16, `prompts.p` (github.com/ml-research/Q16; its page says MIT, it has no licence file).

No code in them is run: of pickles only tensors and numpy arrays are read, of Keras's folder only
the variables. Layers without an activation between them become one layer, and a normalisation of
the vector becomes part of the first, so that the scores are the same and take less time.
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from pipeline.models.published_heads import Head, read_head
from pipeline.words.errors import InputError
from pipeline.words.script import run_script


def convert(
    weights: Annotated[Path, typer.Argument(metavar="FILE", help="The published file or folder.")],
    out: Annotated[Path, typer.Option(help="The safetensors file to write.")],
    clip: Annotated[
        str | None,
        typer.Option(
            help="The CLIP model whose vectors it judges, e.g. `ViT-L-14 / openai`; by default "
            "OpenAI's of the vectors' width, or what the file's name says."
        ),
    ] = None,
) -> None:
    """Write the head's layers to OUT, and print what to write into the job."""
    if out.suffix != ".safetensors":
        raise InputError(f"--out: {out} must end in .safetensors")
    if not weights.exists():
        raise InputError(f"{weights} does not exist; check the path")
    head, data = read_head(weights)
    metadata = {
        "source": weights.name,
        "sha256": hashlib.sha256(data).hexdigest(),
        "form": head.form,
        "clip": clip or head.clip or "",
        "width": str(head.width),
        "activation": head.activation,
    }
    write(out, head, {name: value for name, value in metadata.items() if value})
    print(_entry(out, head))
    model = metadata["clip"] or f"vectors of width {head.width}"
    print(f"{weights.name} ({head.form}) -> {out}; for {model}", file=sys.stderr)


def write(out: Path, head: Head, metadata: dict[str, str]) -> None:
    """A safetensors file in the layout of `pipeline.models.heads.layers`."""
    from safetensors.numpy import save_file

    tensors = {}
    for i, (weight, bias) in enumerate(head.layers):
        tensors[f"layers.{i}.weight"] = np.ascontiguousarray(weight, np.float32)
        tensors[f"layers.{i}.bias"] = np.ascontiguousarray(bias, np.float32)
    out.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, out, metadata)


def _entry(out: Path, head: Head) -> str:
    """The head's entry of `images.heads`, as YAML."""
    keys = {"name": head.column, "kind": "linear" if len(head.layers) == 1 else "mlp"}
    if head.activation != "none":
        keys["activation"] = head.activation
    if len(head.layers) > 1:
        keys["hidden_activation"] = "relu"
    keys["weights"] = json.dumps(str(out))
    return "- {" + ", ".join(f"{name}: {value}" for name, value in keys.items()) + "}"


if __name__ == "__main__":
    run_script("convert_head", convert)
