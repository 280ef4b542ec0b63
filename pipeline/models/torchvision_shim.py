"""Makes torchvision importable together with a torch without CUDA.

PyPI's torchvision is built for CUDA. With a CPU build of torch its extension does not load, and
`import torchvision` fails with "operator torchvision::nms does not exist", and so do open_clip,
timm and parts of transformers. What is used of them here needs none of the operators, only that
their names exist.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

# The definitions live as long as this object does.
_LIBRARY: Any = None
_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def ensure_torchvision() -> None:
    """Declare torchvision's missing operators; call it before anything imports torchvision.

    Does nothing where torch has CUDA, where torchvision's own extension loads, where torchvision
    is imported already, or where it is not installed.
    """
    global _LIBRARY
    if _LIBRARY is not None or "torchvision" in sys.modules:
        return
    import torch

    if torch.version.cuda is not None or _extension_loads():
        return
    library = torch.library.Library("torchvision", "DEF")
    for operator in ("nms", "qnms"):
        library.define(operator + _SCHEMA)
    _LIBRARY = library


def _extension_loads() -> bool:
    import torch

    spec = importlib.util.find_spec("torchvision")
    if spec is None or not spec.submodule_search_locations:
        return True
    folder = Path(spec.submodule_search_locations[0])
    binaries = [p for suffix in ("so", "pyd", "dylib") for p in folder.glob(f"_C*.{suffix}")]
    try:
        for binary in binaries:
            torch.ops.load_library(str(binary))
    except OSError:
        return False
    return bool(binaries)
