"""Fit `winnow-toxicity`, the packaged model of caption toxicity.

    pip install 'winnow-curation[fit-toxicity]'; pip download --no-deps tox-block==0.1.2
    python -m train.toxicity.fit --origin tox_block-0.1.2-py3-none-any.whl --data FOLDER \
        --out pipeline/models/data/winnow-toxicity --seed 0

It starts from tox-block's weights, and goes on with captions, which tox-block has never seen, and
comments. `train.toxicity.sources` names the files of FOLDER. docs/decisions/toxicity.md says why.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from pipeline.models.toxicity_network import CLASSES, WINDOW, words_of
from pipeline.words.errors import InputError
from train.toxicity.origin import VOCABULARY, Origin
from train.toxicity.sources import Example, for_training, read_examples

EPOCHS = 3
BATCH = 64
LEARNING_RATE = 1e-3
OTHER_CLASSES = 0.3
"""Weight of the five finer classes' losses against toxicity's."""
WEIGHTS = {"madlibs": 0.5, "tweets": 0.7}
"""Weight of an example by its source, 1 for others: these have few different sentences or words."""
DROPOUT = 0.3
DROPPED_WORDS = 0.1


class Network(nn.Module):
    """The network of `pipeline.models.toxicity_network` in torch, with tox-block's weights.

    tox-block's gates are hard sigmoids, clip(x / 5 + 1/2); the sigmoids here start with the same
    slope at 0. tox-block also reads the padding in front of a text; here a text has its own length.
    """

    def __init__(self, origin: Origin) -> None:
        super().__init__()
        weights = {
            name: [torch.tensor(a) for a in arrays] for name, arrays in origin.weights.items()
        }
        self.vectors = nn.Embedding.from_pretrained(weights["embedding"][0], freeze=False)
        self.lstm = nn.LSTM(50, 50, batch_first=True, bidirectional=True)
        self.hidden, self.classes = nn.Linear(100, 50), nn.Linear(50, len(CLASSES))
        self.dropout = nn.Dropout(DROPOUT)
        slope = torch.full((200,), 0.8)
        slope[100:150] = 1  # the cell's own gate is a tanh in both
        with torch.no_grad():
            for suffix, name in (("", "forward_lstm"), ("_reverse", "backward_lstm")):
                kernel, recurrent, bias = (array * slope for array in weights[name])
                getattr(self.lstm, f"weight_ih_l0{suffix}").copy_(kernel.T)
                getattr(self.lstm, f"weight_hh_l0{suffix}").copy_(recurrent.T)
                getattr(self.lstm, f"bias_ih_l0{suffix}").copy_(bias)
                getattr(self.lstm, f"bias_hh_l0{suffix}").zero_()
            for layer, name in ((self.hidden, "dense"), (self.classes, "dense_1")):
                layer.weight.copy_(weights[name][0].T)
                layer.bias.copy_(weights[name][1])

    def forward(self, places: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Logits (texts, 6) of word places (texts, longest); `lengths` (texts,) are at least 1."""
        vectors = self.vectors(places)
        if self.training:
            vectors = vectors * (torch.rand(places.shape) > DROPPED_WORDS)[..., None]
        packed = nn.utils.rnn.pack_padded_sequence(
            vectors, lengths, batch_first=True, enforce_sorted=False
        )
        outputs, _ = nn.utils.rnn.pad_packed_sequence(
            self.lstm(packed)[0], batch_first=True, padding_value=-1.0
        )
        pooled = self.dropout(outputs.max(1).values)
        logits: torch.Tensor = self.classes(self.dropout(torch.relu(self.hidden(pooled))))
        return logits


def targets(examples: Sequence[Example], soft: npt.NDArray[np.float32]) -> torch.Tensor:
    """Probabilities (examples, 6): given labels; where the finer classes have none, tox-block's."""
    wanted = soft.copy()
    for row, example in enumerate(examples):
        if example.six is not None:
            wanted[row] = example.six
        wanted[row, 0] = example.toxic
    return torch.tensor(wanted)


def padded(ids: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Places (texts, longest) and lengths (texts,)."""
    lengths = torch.tensor([len(places) for places in ids])
    batch = torch.zeros(len(ids), int(lengths.max()), dtype=torch.long)
    for row, places in enumerate(ids):
        batch[row, : len(places)] = torch.tensor(places)
    return batch, lengths


def fit(origin: Origin, examples: Sequence[Example], seed: int) -> Network:
    """The network after EPOCHS passes over the examples that have a known word."""
    torch.manual_seed(seed)
    chance = np.random.default_rng(seed)
    words = [words_of(example.text) for example in examples]
    ids = [[origin.index[w] for w in text if w in origin.index][-WINDOW:] for text in words]
    wanted = targets(examples, origin.score(words))
    weights = torch.tensor([WEIGHTS.get(example.source, 1.0) for example in examples])
    rows = np.flatnonzero([len(places) > 0 for places in ids])
    lengths = np.array([len(places) for places in ids])
    network = Network(origin)
    optimizer = torch.optim.AdamW(
        [{"params": network.vectors.parameters(), "weight_decay": 0.0},
         {"params": [p for n, p in network.named_parameters() if not n.startswith("vectors")]}],
        lr=LEARNING_RATE, weight_decay=0.01,
    )  # fmt: skip
    steps, step = EPOCHS * -(-len(rows) // BATCH), 0
    for epoch in range(EPOCHS):
        network.train()
        begun, total = time.monotonic(), 0.0
        order = rows[np.argsort(lengths[rows] + chance.uniform(-3, 3, len(rows)))]
        batches = [order[start : start + BATCH] for start in range(0, len(order), BATCH)]
        for batch in (batches[i] for i in chance.permutation(len(batches))):
            step += 1
            for group in optimizer.param_groups:
                group["lr"] = LEARNING_RATE * max(0.02, 1 - step / steps)
            losses = nn.functional.binary_cross_entropy_with_logits(
                network(*padded([ids[row] for row in batch])), wanted[batch], reduction="none"
            )
            loss = losses[:, 0] + OTHER_CLASSES * losses[:, 1:].sum(1)
            loss = (loss * weights[batch]).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        seconds = time.monotonic() - begun
        print(f"epoch {epoch}: loss {total / len(batches):.4f}, {seconds:.0f} s", file=sys.stderr)
    return network.eval()


def write(network: Network, origin: Origin, out: Path, facts: dict[str, object]) -> None:
    """The folder that `pipeline.models.toxicity_network` reads; tensors as float16."""
    from safetensors.numpy import save_file

    state = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    by_place = {place: word for word, place in origin.index.items()}
    places = sorted(by_place)
    tensors = {"vectors": state["vectors.weight"][places]}
    for suffix, name in (("", "forward"), ("_reverse", "backward")):
        tensors[f"{name}.inputs"] = state[f"lstm.weight_ih_l0{suffix}"].T
        tensors[f"{name}.recurrent"] = state[f"lstm.weight_hh_l0{suffix}"].T
        tensors[f"{name}.bias"] = (
            state[f"lstm.bias_ih_l0{suffix}"] + state[f"lstm.bias_hh_l0{suffix}"]
        )
    for name in ("hidden", "classes"):
        tensors[f"{name}.weight"] = state[f"{name}.weight"].T
        tensors[f"{name}.bias"] = state[f"{name}.bias"]
    out.mkdir(parents=True, exist_ok=True)
    half = {name: np.ascontiguousarray(array, np.float16) for name, array in tensors.items()}
    save_file(half, out / "model.safetensors")
    (out / "words.txt").write_text("\n".join(by_place[p] for p in places) + "\n", encoding="utf-8")
    (out / "training.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--origin", type=Path, required=True, help="tox-block's wheel")
    parser.add_argument("--data", type=Path, required=True, help="folder of the training data")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    try:
        origin = Origin(asked.origin)
        examples = for_training(read_examples(asked.data), asked.seed)
    except InputError as error:
        print(f"fit: {error}", file=sys.stderr)
        sys.exit(2)
    network = fit(origin, examples, asked.seed)
    counts: dict[str, int] = {}
    for example in examples:
        kind = f"{example.source}, {'toxic' if example.toxic else 'harmless'}"
        counts[kind] = counts.get(kind, 0) + 1
    facts = {"origin": "tox-block 0.1.2", "seed": asked.seed, "epochs": EPOCHS,
             "examples": counts, "words": VOCABULARY - 1}  # fmt: skip
    write(network, origin, asked.out, facts)


if __name__ == "__main__":
    main()
