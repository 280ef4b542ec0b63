"""Networks on the CPU through OpenVINO: converted once for their weights, kept, and run in the
precision that is asked for (docs/decisions/inference.md).

A converted network lies in the cache folder, under a digest of its weights, its precision and the
versions of what converted it. Processes that need it at once convert it once.
"""

import contextlib
import fcntl
import logging
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.table.part import digest_of
from pipeline.words.heartbeat import beat, beat_for_this_thread
from pipeline.words.threads import worker_threads

_FORMAT = 1
"""Of what lies in the cache: another number converts anew."""
_HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}

Arrays = Sequence[npt.NDArray[Any]]


class ConversionError(Exception):
    """A network that OpenVINO does not convert; the text says why."""


@dataclass(frozen=True)
class Convertible:
    """A network that can be converted.

    `digest` is that of its weights and of what of it is converted; `trace` gives the module, an
    example of its inputs and which of their axes may have any length, as `torch.export` takes them;
    `samples` inputs of one row each, whose ranges int8 is fitted to: they are drawn, not taken from
    a job, so that the result depends on the weights alone.
    """

    digest: str
    trace: Callable[[], tuple[Any, tuple[Any, ...], Any]]
    samples: Callable[[], Iterator[Arrays]]


class Compiled:
    """A compiled network; for one thread at a time."""

    def __init__(self, path: Path, precision: str, threads: int) -> None:
        settings = {
            "INFERENCE_PRECISION_HINT": _HINTS[precision],
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            # Else the threads of two workers are bound to the same cores.
            "ENABLE_CPU_PINNING": False,
        }
        compiled = openvino().Core().compile_model(str(path), "CPU", settings)
        self._request = compiled.create_infer_request()
        self._names = range(len(compiled.inputs))

    def __call__(self, *inputs: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """The network's output for a batch, float32."""
        given = dict(zip(self._names, map(np.ascontiguousarray, inputs), strict=True))
        found = self._request.infer(given, share_inputs=True)[0]
        return np.array(found, np.float32)


def compiled(network: Convertible, precision: str) -> Compiled:
    """The network in `fp32`, `bf16` or `int8`; it is converted if that was not done before.

    ConversionError if it cannot be.
    """
    with _at_work():
        return Compiled(_converted(network, precision), precision, worker_threads())


def has_fast_bf16() -> bool:
    """Whether this CPU multiplies in bfloat16 (AVX512_BF16 or AMX); elsewhere it is slower."""
    return "BF16" in openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def cpu_name() -> str:
    return str(openvino().Core().get_property("CPU", "FULL_DEVICE_NAME"))


def engine_version() -> str:
    return version("openvino")


def cache_folder() -> Path:
    """`$WINNOW_CACHE`, else `winnow` in `$XDG_CACHE_HOME` or `~/.cache`. Where that cannot be
    written to, a folder that ends with the process; `cache_note` says so."""
    wanted = _wanted_folder()
    return wanted if _why_not(wanted) is None else Path(_own_folder().name)


def cache_note() -> str:
    """What is the matter with the cache folder; empty if nothing is."""
    wanted = _wanted_folder()
    why = _why_not(wanted)
    if why is None:
        return ""
    return (
        f"{wanted} cannot be written to ({why}), so that each process converts its networks anew; "
        "let WINNOW_CACHE name a folder that can"
    )


def _wanted_folder() -> Path:
    if own := os.environ.get("WINNOW_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "winnow"


@lru_cache(maxsize=8)
def _why_not(folder: Path) -> str | None:
    """Why the folder cannot be written to; None if it can."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return error.strerror or type(error).__name__


@lru_cache(maxsize=1)
def _own_folder() -> "tempfile.TemporaryDirectory[str]":
    return tempfile.TemporaryDirectory(prefix="winnow-cache-")


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """Waits until no other process of this machine is within, for the file at `path`."""
    with path.open("a") as handle:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                beat()
                time.sleep(0.5)
        yield


@lru_cache(maxsize=1)
def openvino() -> Any:
    """The package, without openvino-telemetry: that reports to Google Analytics each time it is
    imported, unless it was declined before. Without it OpenVINO and NNCF report nothing."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


def _converted(network: Convertible, precision: str) -> Path:
    """The file of the converted network; that in bf16 is the one in fp32."""
    form = "int8" if precision == "int8" else "fp32"
    versions = [version(name) for name in ("openvino", "torch", *(["nncf"] * (form == "int8")))]
    name = digest_of({"format": _FORMAT, "of": network.digest, "form": form, "with": versions})
    cache = cache_folder()
    path = cache / f"{name}-{form}" / "model.xml"
    if not path.is_file():
        with alone(cache / f"{name}-{form}.lock"):
            if not path.is_file():
                _convert(network, form, path.parent)
    return path


def _convert(network: Convertible, form: str, folder: Path) -> None:
    ov = openvino()
    if form == "int8":
        model = _quantized(ov.Core().read_model(_converted(network, "fp32")), network)
    else:
        model = _exported(network)
    for left in folder.parent.glob(f"{folder.name}.*/"):  # of a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    aside = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
    try:
        ov.save_model(model, aside / "model.xml", compress_to_fp16=False)
        aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _exported(network: Convertible) -> Any:
    import torch

    was_fast = torch.backends.mha.get_fastpath_enabled()
    # The fast path is one operator of PyTorch's own, which nothing else knows.
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        module, example, dynamic = network.trace()
        with torch.inference_mode(False), torch.no_grad():
            program = torch.export.export(module, example, dynamic_shapes=dynamic)
            return openvino().convert_model(program)
    except Exception as error:  # whatever is the matter with it, PyTorch can run it
        lines = str(error).strip().splitlines() or [""]
        raise ConversionError(f"{type(error).__name__}: {lines[0][:160]}") from error
    finally:
        torch.backends.mha.set_fastpath_enabled(was_fast)


def _quantized(model: Any, network: Convertible) -> Any:
    openvino()
    with _quiet():
        import nncf

        rows = [dict(enumerate(sample)) for sample in network.samples()]

        def beating(row: Mapping[int, npt.NDArray[Any]]) -> Mapping[int, npt.NDArray[Any]]:
            beat()
            return row

        from nncf.quantization import advanced_parameters, range_estimator

        # The widest range that was seen, not the mean of ranges: what lies beyond is cut off, and
        # one picture in a hundred would come out wrong. 0.5 is SmoothQuant's own (Xiao et al.,
        # 2023), by which activations and weights share what is hard to quantize.
        fitted = advanced_parameters.AdvancedQuantizationParameters(
            activations_range_estimator_params=range_estimator.RangeEstimatorParametersSet.MINMAX,
            smooth_quant_alphas=advanced_parameters.AdvancedSmoothQuantParameters(matmul=0.5),
        )
        return nncf.quantize(
            model,
            nncf.Dataset(rows, beating),
            subset_size=len(rows),
            model_type=nncf.ModelType.TRANSFORMER,
            advanced_parameters=fitted,
        )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """NNCF prints bars and its log to stdout, where a command's result belongs."""
    logger = logging.getLogger("nncf")
    level = logger.level
    logger.setLevel(logging.ERROR)
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        try:
            yield
        finally:
            logger.setLevel(level)


@contextlib.contextmanager
def _at_work() -> Iterator[None]:
    """Beats while a conversion, which cannot, takes its minutes."""
    done, beating = threading.Event(), beat_for_this_thread()

    def run() -> None:
        while not done.wait(5):
            beating()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
