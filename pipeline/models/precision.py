"""The fastest precision in which a network's answers agree with those in fp32."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.models.compiled import (
    Arrays,
    Compiled,
    ConversionError,
    Convertible,
    alone,
    cache_folder,
    cache_note,
    compiled,
    cpu_name,
    engine_version,
    has_fast_bf16,
)
from pipeline.table.part import digest_of
from pipeline.words.errors import InputError

LEAST_PARAMETERS = 20_000_000
"""Smaller networks stay in PyTorch: converting them takes longer than they ever do."""
_TIMED = 32
"""Rows on which the speed of a precision is measured."""
_GAIN = 1.1
"""How much faster a less exact precision must be to be taken."""


@dataclass(frozen=True)
class Agreement:
    """By what answers are held against those in fp32, over all rows, and how far they may be off:
    the least cosine of two vectors, or the greatest difference of two scores."""

    by: Literal["cosine", "difference"]
    line: float

    def of(self, truth: NDArray[np.float32], other: NDArray[np.float32]) -> float:
        if self.by == "difference":
            return float(np.abs(truth - other).max())
        lengths = np.linalg.norm(truth, axis=1) * np.linalg.norm(other, axis=1)
        return float(np.min((truth * other).sum(axis=1) / np.maximum(lengths, 1e-12)))

    def holds(self, measured: float) -> bool:
        return measured <= self.line if self.by == "difference" else measured >= self.line


@dataclass(frozen=True)
class Choice:
    """In what a network runs, and how it was chosen."""

    engine: str
    precision: str
    cosine: float | None = None
    """Least cosine with fp32 over the rows that it was chosen on; None: it was not chosen by it."""
    difference: float | None = None
    """Greatest difference from fp32, likewise."""
    speed: float | None = None
    """How many times as fast as fp32 in the same engine."""
    note: str = ""
    """Why it is not what was asked for."""


def facts_of(choice: Choice) -> dict[str, Any]:
    """JSON values for the part's record; with a note if the converted network could not be kept."""
    is_kept = choice.engine == "PyTorch" or not (note := cache_note())
    return asdict(choice if is_kept else replace(choice, note=note))


def found_for(
    asked: str, network: Convertible, first: Arrays, agreement: Agreement, place: str,
    *, what: str, key: str,
) -> tuple[Compiled | None, Choice]:  # fmt: skip
    """The network in the precision `asked`, or as `chosen` if that is `auto`; None: in PyTorch.

    `what` and `key` name the network and the job's key of the precision. InputError if OpenVINO
    does not convert it, and PyTorch would not run it as it was asked for.
    """
    try:
        if asked != "auto":
            return compiled(network, asked), Choice("OpenVINO", asked)
        return chosen(network, first, agreement, place)
    except ConversionError as error:
        note = f"OpenVINO does not convert {what} ({error})"
        if asked not in ("auto", "fp32"):
            raise InputError(f"{key}: {note}; give `auto` or `fp32`, which PyTorch runs") from error
        return None, Choice("PyTorch", "fp32", note=f"{note}; it runs in PyTorch")


def chosen(
    network: Convertible, first: Arrays, agreement: Agreement, place: str
) -> tuple[Compiled, Choice]:
    """The network in the fastest precision that agrees with fp32 on the inputs `first`.

    Chosen once for the job at `place`, on this machine; all its processes take the same.
    ConversionError if OpenVINO does not convert it.
    """
    key = digest_of(
        {"of": network.digest, "agreement": asdict(agreement), "place": place, "cpu": cpu_name(),
         "engine": engine_version()}
    )  # fmt: skip
    cache = cache_folder()
    path = cache / f"{key}.choice.json"
    with alone(cache / f"{key}.lock"):
        if path.is_file():
            choice = Choice(**json.loads(path.read_text()))
            return compiled(network, choice.precision), choice
        found, choice = _measured(network, first, agreement)
        path.write_text(json.dumps(asdict(choice)))
    return found, choice


def _measured(network: Convertible, first: Arrays, agreement: Agreement) -> tuple[Compiled, Choice]:
    exact = compiled(network, "fp32")
    truth, slowest = exact(*first), _seconds(exact, first)
    best, choice, seconds = exact, Choice("OpenVINO", "fp32"), slowest
    for precision in ("bf16", "int8") if has_fast_bf16() else ("int8",):
        other = compiled(network, precision)
        measured, taken = agreement.of(truth, other(*first)), _seconds(other, first)
        if agreement.holds(measured) and taken * _GAIN < seconds:
            best, seconds = other, taken
            choice = Choice("OpenVINO", precision, speed=round(slowest / taken, 2))
            if agreement.by == "cosine":
                choice = replace(choice, cosine=round(measured, 6))
            else:
                choice = replace(choice, difference=round(measured, 6))
    return best, choice


def _seconds(network: Callable[..., Any], inputs: Arrays) -> float:
    """The shortest of three runs."""
    some, taken = [one[:_TIMED] for one in inputs], []
    for _ in range(3):
        start = time.perf_counter()
        network(*some)
        taken.append(time.perf_counter() - start)
    return min(taken)
