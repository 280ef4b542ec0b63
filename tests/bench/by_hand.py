"""The chain that people build by hand, and the models of random weights that both sides use.

`python by_hand.py MODELS LIST WORK SIMILARITY` writes WORK/found.json: by URL, the cosine of
picture and caption, `toxicity`, and whether another row has a vector as near as SIMILARITY.
"""

import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np


def write_models(folder: str) -> None:
    """A ViT-B/32 and a BERT-base with the vocabulary of winnow-toxicity's words."""
    from pipeline.models.torchvision_shim import ensure_torchvision

    ensure_torchvision()
    import open_clip
    import torch
    from safetensors.torch import save_file
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

    from pipeline.models import toxicity_network
    from pipeline.models.convert_detoxify import convert

    out = Path(folder)
    (out / "clip").mkdir()
    torch.manual_seed(0)
    network = open_clip.create_model("ViT-B-32")
    settings = {"model_cfg": open_clip.get_model_config("ViT-B-32"), "preprocess_cfg": {}}
    (out / "clip/open_clip_config.json").write_text(json.dumps(settings))
    save_file(
        {name: one.contiguous() for name, one in network.state_dict().items()},
        out / "clip/open_clip_model.safetensors",
    )
    base = out / "base"
    base.mkdir()
    words = (toxicity_network.FOLDER / "words.txt").read_text("utf-8").split()
    marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    (base / "vocab.txt").write_text("\n".join([*marks, *words][:30_522]) + "\n")
    BertTokenizer(str(base / "vocab.txt"), model_max_length=512).save_pretrained(base)
    classes = ["toxic", "severe_toxic", "obscene", "threat", "insult", "identity_hate"]
    config = BertConfig(num_labels=len(classes))
    config.save_pretrained(base)
    judge = BertForSequenceClassification(config)

    arch = {
        "model_type": str(base), "model_name": "BertForSequenceClassification",
        "tokenizer_name": "BertTokenizer", "num_classes": len(classes),
    }  # fmt: skip
    given = {"arch": {"args": arch}, "dataset": {"args": {"classes": classes}}}
    torch.save({"config": given, "state_dict": judge.state_dict()}, out / "detoxify.ckpt")
    convert(out=out / "detoxify", checkpoint=out / "detoxify.ckpt", config=base)


def main() -> None:
    models, table, work, similarity = map(Path, sys.argv[1:])
    command = [
        str(Path(sys.executable).parent / "img2dataset"), "--url_list", str(table),
        "--input_format", "parquet", "--url_col", "url", "--caption_col", "caption",
        "--output_folder", str(work / "out"), "--output_format", "webdataset",
        "--image_size", "256", "--resize_mode", "keep_ratio", "--resize_only_if_bigger", "True",
        "--processes_count", "2", "--thread_count", "32", "--number_sample_per_shard", "1000",
        "--encode_quality", "95",
    ]  # fmt: skip
    subprocess.run(command, check=True)
    pairs = [pair for path in sorted((work / "out").glob("*.tar")) for pair in _pairs(path)]
    captions = [pair["caption"] for pair in pairs]
    vectors, scores = _embed(models / "clip", pairs)
    toxicity = _judge(models / "detoxify.ckpt", captions)
    repeats = _repeats(vectors, float(str(similarity)))
    found = {
        pair["url"]: [float(scores[i]), float(toxicity[i]), bool(repeats[i])]
        for i, pair in enumerate(pairs)
    }
    (work / "found.json").write_text(json.dumps(found))


def _pairs(path: Path) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    with tarfile.open(path) as tar:
        for member in tar:
            key, _, kind = member.name.partition(".")
            data = tar.extractfile(member).read()
            if kind == "json":
                found.setdefault(key, {}).update(json.loads(data))
            elif kind == "jpg":
                found.setdefault(key, {})["jpg"] = data
    return list(found.values())


def _embed(model: Path, pairs: list[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    from pipeline.models.torchvision_shim import ensure_torchvision

    ensure_torchvision()
    import open_clip
    import torch
    from PIL import Image

    network, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{model}")
    tokenizer = open_clip.get_tokenizer("ViT-B-32")
    network.eval()
    images, scores = [], []
    with torch.inference_mode():
        for start in range(0, len(pairs), 32):
            part = pairs[start : start + 32]
            pictures = [Image.open(io.BytesIO(pair["jpg"])).convert("RGB") for pair in part]
            image = network.encode_image(torch.stack([preprocess(one) for one in pictures]))
            text = network.encode_text(tokenizer([pair["caption"] for pair in part]))
            image = image / image.norm(dim=-1, keepdim=True)
            text = text / text.norm(dim=-1, keepdim=True)
            images.append(image.numpy())
            scores.append((image * text).sum(dim=-1).numpy())
    return np.concatenate(images), np.concatenate(scores)


def _judge(checkpoint: Path, captions: list[str]) -> np.ndarray:
    from detoxify import Detoxify

    model, found = Detoxify(checkpoint=str(checkpoint)), []
    for start in range(0, len(captions), 64):
        found += model.predict(captions[start : start + 64])["toxicity"]
    return np.array(found)


def _repeats(vectors: np.ndarray, similarity: float) -> np.ndarray:
    """Rows with an equal one, as winnow's `dup_group is not null`."""
    import faiss

    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    limits, _, _ = index.range_search(vectors, similarity)
    return np.diff(limits.astype(np.int64)) > 1


if __name__ == "__main__":
    main()
