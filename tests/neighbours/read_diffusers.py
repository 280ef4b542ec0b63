"""diffusers' `train_text_to_image.py`: two steps on the export, by `--dataset_name`, twice.

Once on the export itself, of which the columns are named, and once on the layout imagefolder, which
has the names that the script expects. The model is a very small Stable Diffusion of random weights.
"""

import importlib.metadata
import json
import pathlib
import subprocess
import sys
import tempfile

import datasets

START = """
import runpy, sys
from pipeline.models.torchvision_shim import ensure_torchvision
ensure_torchvision()
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
export, model, checkout = map(pathlib.Path, sys.argv[1:4])
script = checkout / "examples" / "text_to_image" / "train_text_to_image.py"
ways = {
    str(export): ["--image_column", "jpg", "--caption_column", "txt"],
    str(export / "imagefolder"): [],
}
for name, columns in ways.items():
    with tempfile.TemporaryDirectory() as out:
        subprocess.run(
            [sys.executable, "-c", START, script, "--pretrained_model_name_or_path", model,
             "--dataset_name", name, *columns, "--resolution", "64", "--train_batch_size", "2",
             "--max_train_steps", "2", "--output_dir", out],
            check=True, stdout=sys.stderr,
        )  # fmt: skip
rows = {len(datasets.load_dataset(name, split="train")) for name in ways}
(samples,) = rows
print(json.dumps({"version": importlib.metadata.version("diffusers"), "samples": samples}))
