"""How often the offline models of caption toxicity are right, at their default rules.

`toxicity written` needs nothing but this project. The other block needs, in the folder of --data,
hatecheck.csv (paul-rottger/hatecheck-data, test_suite_cases.csv), surge.csv (surge-ai/toxicity,
toxicity_en.csv) and flickr8k.txt (Flickr8k.token.txt).
"""

import csv
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.config.captions import ToxicityConfig
from pipeline.measure.captions.toxicity import LINE
from pipeline.models.toxicity import load_toxicity
from tests.quality.scores import Confusion, Z, table, wilson

BLOCKS = ("toxicity yardsticks", "toxicity written")
MODELS = ("winnow-toxicity", "profanity-check")
CAPTIONS = Path(__file__).with_name("toxicity_captions.txt")

Scores = npt.NDArray[np.float32]


def written() -> dict[str, list[str]]:
    """The captions written for this project, by their kind."""
    found: dict[str, list[str]] = {}
    kind = ""
    for line in CAPTIONS.read_text(encoding="utf-8").splitlines():
        if line.startswith("= "):
            kind = line.removeprefix("= ")
        elif line and not line.startswith("#"):
            found.setdefault(kind, []).append(line)
    return found


def tables(data: Path | None) -> dict[str, str]:
    found = {"toxicity written": _written()}
    if data is not None and (data / "hatecheck.csv").is_file():
        found["toxicity yardsticks"] = _yardsticks(data)
    return found


def auc(toxic: Scores, harmless: Scores) -> str:
    """`0.885 (0.860–0.910)`: area under the ROC curve, 95 % interval of Hanley and McNeil, 1982."""
    from scipy.stats import rankdata

    ranks = rankdata(np.concatenate([toxic, harmless]))
    m, n = len(toxic), len(harmless)
    area = float((ranks[:m].sum() - m * (m + 1) / 2) / (m * n))
    both, one = area / (2 - area), 2 * area**2 / (1 + area)
    spread = area * (1 - area) + (m - 1) * (both - area**2) + (n - 1) * (one - area**2)
    half = Z * math.sqrt(spread / (m * n))
    return f"{area:.3f} ({max(0.0, area - half):.3f}–{min(1.0, area + half):.3f})"


def _score(model: str, texts: Sequence[str]) -> Scores:
    return load_toxicity(ToxicityConfig(model=model))(texts)["toxicity"]


def _confusion(model: str, toxic: Scores, harmless: Scores) -> Confusion:
    answers = [bool(score > LINE) for score in np.concatenate([toxic, harmless])]
    return Confusion.of(answers, [True] * len(toxic) + [False] * len(harmless))


def _written() -> str:
    kinds = written()
    scored = {m: {kind: _score(m, texts) for kind, texts in kinds.items()} for m in MODELS}
    rows = []
    for kind, texts in kinds.items():
        flagged = [f"{int((scored[m][kind] > LINE).sum())} of {len(texts)}" for m in MODELS]
        rows.append([kind, *flagged])
    whole: dict[str, list[str]] = {}
    for m in MODELS:
        toxic, harmless = (
            np.concatenate([s for kind, s in scored[m].items() if kind.startswith(word)])
            for word in ("insulting", "harmless")
        )
        confusion = _confusion(m, toxic, harmless)
        whole.setdefault("all harmless: flagged", []).append(confusion.alarm_rate())
        whole.setdefault("all insulting: found", []).append(confusion.recall())
        whole.setdefault("precision", []).append(confusion.precision())
    rows += [[f"**{name}**", *cells] for name, cells in whole.items()]
    head = [f"`{m}`" for m in MODELS]
    return table(["flagged", *head], rows)


def _yardsticks(data: Path) -> str:
    hate = _rows(data / "hatecheck.csv")
    surge = _rows(data / "surge.csv")
    lines = (data / "flickr8k.txt").read_text(encoding="utf-8").splitlines()
    flickr = [line.split(maxsplit=1)[1] for line in lines]  # three lines have no tab
    sets = {
        "Surge": _halves([(row["text"], row["is_toxic"] == "Toxic") for row in surge]),
        "HateCheck": _halves([(r["test_case"], r["label_gold"] == "hateful") for r in hate]),
    }
    rows: dict[str, list[str]] = {}
    for m in MODELS:
        for name, (toxic, harmless) in sets.items():
            scores = _score(m, toxic), _score(m, harmless)
            confusion = _confusion(m, *scores)
            rows.setdefault(f"{name}: AUC", []).append(auc(*scores))
            rows.setdefault(f"{name}: found of the toxic", []).append(confusion.recall())
            rows.setdefault(f"{name}: flagged of the harmless", []).append(confusion.alarm_rate())
        alarms = _confusion(m, np.zeros(0, np.float32), _score(m, flickr))
        rows.setdefault("Flickr8k: flagged of the harmless", []).append(_fine(alarms))
    head = [f"`{m}`" for m in MODELS]
    return table(["", *head], [[name, *cells] for name, cells in rows.items()])


def _fine(alarms: Confusion) -> str:
    """An alarm rate far below 1 %, with two digits more."""
    n = alarms.false_alarms + alarms.correct_rejections
    low, high = wilson(alarms.false_alarms, n)
    share = alarms.false_alarms / n
    return f"{100 * share:.3f} % ({100 * low:.3f}–{100 * high:.3f}) of {n:,}"


def _halves(labelled: Sequence[tuple[str, bool]]) -> tuple[list[str], list[str]]:
    return [t for t, bad in labelled if bad], [t for t, bad in labelled if not bad]


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))
