"""Convert a published Detoxify checkpoint, once, to safetensors.

Detoxify reads its checkpoints with a full unpickle, which runs whatever code the file holds. Do it
once, here, on a file you trust; every later load reads only the converted tensors.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer


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
    from detoxify import Detoxify

    judge = Detoxify(
        model,
        checkpoint=str(checkpoint) if checkpoint else None,
        huggingface_config_path=str(config) if config else None,
    )
    judge.model.save_pretrained(out, safe_serialization=True)
    judge.tokenizer.save_pretrained(out)
    print(f"{out}: {', '.join(judge.class_names)}", file=sys.stderr)


if __name__ == "__main__":
    typer.run(convert)
