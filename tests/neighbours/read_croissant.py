"""mlcroissant: validates `croissant.json`, and reads every record of the tables it names."""

import importlib.metadata
import json
import os
import sys

import mlcroissant

os.chdir(sys.argv[1])
dataset = mlcroissant.Dataset(jsonld="croissant.json")
if dataset.metadata.ctx.issues.errors:
    sys.exit(dataset.metadata.ctx.issues.report())
uids = {record["samples/uid"] for record in dataset.records("samples")}
print(json.dumps({"version": importlib.metadata.version("mlcroissant"), "samples": len(uids)}))
