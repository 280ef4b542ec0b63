"""Label Studio: its own check of every task against the labelling interface."""

import importlib.metadata
import json
import pathlib
import sys

from label_studio_sdk.label_interface import LabelInterface

folder = pathlib.Path(sys.argv[1], "label-studio")
interface = LabelInterface((folder / "config.xml").read_text())
interface.validate()
tasks = [task for path in sorted(folder.glob("*.json")) for task in json.loads(path.read_text())]
good = [task for task in tasks if interface.validate_task(task)]
version = importlib.metadata.version("label-studio-sdk")
print(json.dumps({"version": version, "samples": len(good)}))
