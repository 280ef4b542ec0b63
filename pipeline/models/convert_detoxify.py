"""Convert a published Detoxify checkpoint, once, to safetensors.

Detoxify's checkpoints are pickles, which can run whatever code they hold. Here only tensors and
plain values are unpickled, and anything else is refused; every later load reads the converted ones.
"""

import sys
from pathlib import Path
from pickle import UnpicklingError
from typing import Annotated, Any

import typer

from pipeline.words.errors import InputError
from pipeline.words.script import run_script


def convert(
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    model: Annotated[
        str, typer.Option(help="original, unbiased or multilingual; fetched by Detoxify.")
    ] = "original",
    checkpoint: Annotated[
        Path | None, typer.Option(help="A checkpoint on disk instead of a fetched one.")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="Folder with the model's config and tokenizer, for use without a hub."),
    ] = None,
) -> None:
    """Write `model.safetensors`, `config.json` and the tokenizer's files to OUT."""
    from pipeline.models.torchvision_shim import ensure_torchvision

    ensure_torchvision()
    from detoxify.detoxify import get_model_and_tokenizer

    loaded = _load(model, checkpoint)
    classes = [str(name) for name in loaded["config"]["dataset"]["args"]["classes"]]
    if not {"toxic", "toxicity"} & set(classes):
        raise InputError(f"--checkpoint: none of its classes is toxicity: {', '.join(classes)}")
    arguments = dict(loaded["config"]["arch"]["args"])
    if config is not None:
        # Detoxify's own option for this asks the hub all the same: for the config that its
        # checkpoint names, with which it reads how many classes there are.
        arguments["model_type"] = str(config)
    network, tokenizer = get_model_and_tokenizer(**arguments, state_dict=loaded["state_dict"])
    # `unbiased` and `multilingual` have more outputs than classes: the groups that a text mentions.
    outputs = int(network.config.num_labels)
    names = [*classes, *(f"other_{i}" for i in range(len(classes), outputs))]
    network.config.id2label = dict(enumerate(names))
    network.config.label2id = {name: i for i, name in enumerate(names)}
    network.save_pretrained(out)
    tokenizer.save_pretrained(out)
    print(f"{out}: {', '.join(classes)}", file=sys.stderr)


def _load(model: str, checkpoint: Path | None) -> dict[str, Any]:
    import torch
    from detoxify.detoxify import MODEL_URLS

    if checkpoint is None and model not in MODEL_URLS:
        raise InputError(f"--model {model}: Detoxify knows {', '.join(MODEL_URLS)}")
    if checkpoint is not None and not checkpoint.is_file():
        raise InputError(f"--checkpoint: {checkpoint} does not exist; check the path")
    try:
        if checkpoint is None:
            loaded = torch.hub.load_state_dict_from_url(
                MODEL_URLS[model], map_location="cpu", weights_only=True
            )
        else:
            loaded = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise InputError(
            f"{checkpoint or model}: holds more than tensors and plain values, which could run "
            f"code; it is refused ({str(error).strip().splitlines()[0][:120]})"
        ) from error
    if not isinstance(loaded, dict) or not {"config", "state_dict"} <= set(loaded):
        raise InputError("--checkpoint: not Detoxify's: it has no `config` and `state_dict`")
    return loaded


if __name__ == "__main__":
    run_script("convert_detoxify", convert)
