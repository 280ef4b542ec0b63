"""What makes `winnow-toxicity`: its examples, its start from tox-block, what it writes."""

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.models.toxicity_network import CLASSES, ToxicityNetwork
from pipeline.words.errors import InputError
from train.toxicity.fit import Network, fit, padded, write
from train.toxicity.origin import Origin, _TokenizerOnly
from train.toxicity.sources import FILES, Example, for_training, joined, read_examples
from train.toxicity.written import spans, written

WORDS = ("dog", "cat", "hill", "awful", "nasty", "a", "the", "on")


@pytest.fixture
def origin() -> Origin:
    """Random weights in tox-block's shapes, with a short word list; its class reads a wheel."""
    chance = np.random.default_rng(0)

    def some(*shape: int) -> Any:
        return chance.normal(0, 0.5, shape).astype(np.float32)

    made = Origin.__new__(Origin)
    made.index = {word: place for place, word in enumerate(WORDS, 1)}
    made.weights = {
        "embedding": [some(len(WORDS) + 1, 50)],
        "forward_lstm": [some(50, 200), some(50, 200), some(200)],
        "backward_lstm": [some(50, 200), some(50, 200), some(200)],
        "dense": [some(100, 50), some(50)],
        "dense_1": [some(50, 6), some(6)],
    }
    return made


def test_numpy_gives_what_torch_gives(origin: Origin, tmp_path: Path):
    """The weights are stored as float16: hence the tolerance."""
    network = Network(origin).eval()
    write(network, origin, tmp_path, {})
    served = ToxicityNetwork(tmp_path)
    texts = ["a dog", "the nasty cat on a hill", "awful", "a dog on the hill " * 12]
    ids = [[origin.index[word] for word in text.split()] for text in texts]
    with torch.inference_mode():
        expected = torch.sigmoid(network(*padded(ids))).numpy()
    found = served.score(texts)
    np.testing.assert_allclose(found, expected, atol=2e-3, rtol=0)
    assert np.ptp(found) > 0.5


def test_it_starts_where_tox_block_stands(origin: Origin):
    """Of texts without padding only the form of the gates differs."""
    words = [chosen.tolist() for chosen in np.random.default_rng(1).choice(WORDS, (40, 100))]
    ids = [[origin.index[word] for word in text] for text in words]
    with torch.inference_mode():
        started = torch.sigmoid(Network(origin).eval()(*padded(ids))).numpy()
    theirs = origin.score(words)
    assert np.abs(started - theirs).mean() < 0.1 * np.ptp(theirs)
    assert np.corrcoef(started.ravel(), theirs.ravel())[0, 1] > 0.9


@pytest.mark.slow
def test_it_learns_which_words_are_toxic(origin: Origin, tmp_path: Path):
    harmless = [Example("coco", f"a {w} on the hill", 0, (0,) * 6) for w in ("dog", "cat")] * 300
    toxic = [Example("civil", f"the {w} dog", 1) for w in ("awful", "nasty")] * 300
    write(fit(origin, [*harmless, *toxic], seed=0), origin, tmp_path, {"seed": 0})
    scores = ToxicityNetwork(tmp_path).score(["a cat on a hill", "the nasty awful dog"])[:, 0]
    assert scores[0] < 0.3 < 0.7 < scores[1]
    assert {path.name for path in tmp_path.iterdir()} == {
        "model.safetensors", "words.txt", "training.json",
    }  # fmt: skip


def test_the_pickled_tokenizer_runs_no_code():
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return print, ("ran",)

    with pytest.raises(pickle.UnpicklingError, match=r"builtins\.print is not expected"):
        _TokenizerOnly(io.BytesIO(pickle.dumps(Evil()))).load()


def test_a_missing_file_is_named_with_its_source(tmp_path: Path):
    with pytest.raises(InputError, match=r"--data: .*coco\.json is missing: COCO 2017"):
        read_examples(tmp_path)


def test_every_source_is_read_with_its_labels(tmp_path: Path):
    head = "toxic,severe_toxic,obscene,threat,insult,identity_hate"
    texts = {
        "coco.json": '{"annotations": [{"caption": " A dog. "}]}',
        "tweets.csv": "class,tweet\n2,@a hello &amp; bye\n1,RT @b nasty\n",
        "civil.csv": "comment_id,comment_text\n1,awful\n",
        "civil_more.csv": "spans,text\n[],AWFUL\n[1],awful too\n",
        "wiki.csv": "fine,0\nbad,1\n",
        "wiki_six.csv": f"comment_text,{head}\nworse,1,0,0,0,1,0\ncut,1,,,,,\n",
        "madlibs.csv": "Text,Label\nX is vile,BAD\nX is kind,NOT_BAD\n",
    }
    assert texts.keys() == FILES.keys()
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    assert [(e.source, e.text, e.toxic, e.six) for e in read_examples(tmp_path)] == [
        ("coco", "A dog.", 0, (0,) * 6),
        ("wiki", "worse", 1, (1, 0, 0, 0, 1, 0)),
        ("wiki", "fine", 0, None),
        ("wiki", "bad", 1, None),
        ("tweets", "hello & bye", 0, None),
        ("tweets", "nasty", 1, None),
        ("civil", "awful", 1, None),  # once, in whatever case
        ("civil", "awful too", 1, None),
        ("madlibs", "X is vile", 1, None),
        ("madlibs", "X is kind", 0, (0,) * 6),
    ]


def test_what_is_held_out_is_not_trained_on():
    examples = [Example("coco", f"a dog, number {i}", 0, (0,) * 6) for i in range(200)]
    examples += [Example("civil", f"awful dog {i}", i % 2) for i in range(200)]
    held_out = {example.text for example in examples if example.held_out}
    assert 40 < len(held_out) < 120
    trained = for_training(examples, seed=0)
    assert not held_out & {example.text for example in trained}
    assert trained == for_training(examples, seed=0)
    pairs = joined(examples, 5, seed=0)
    assert [pair.toxic for pair in pairs] == [1] * 5 + [0] * 5
    assert all("number" in pair.text and "awful" in pair.text for pair in pairs)


def test_short_captions_are_as_many_as_asked_for():
    assert len(written(50, 0)) == 50
    assert all(
        2 <= len(span.split()) <= 6 for span in spans(["a dog on the hill by the sea"], 20, 0)
    )


def test_classes_are_as_many_as_outputs(origin: Origin):
    assert Network(origin).classes.out_features == len(CLASSES)
