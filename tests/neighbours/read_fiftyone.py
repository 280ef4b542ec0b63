"""FiftyOne: its importer reads every sample; a dataset of its own would need a MongoDB."""

import importlib.metadata
import json
import sys
from pathlib import Path

from fiftyone.utils.data.importers import FiftyOneDatasetImporter, LegacyFiftyOneDatasetImporter

folder = f"{sys.argv[1]}/fiftyone"
if not FiftyOneDatasetImporter(folder)._is_legacy_format_data():
    sys.exit("FiftyOne takes the folder for its own binary format")
with LegacyFiftyOneDatasetImporter(folder) as importer:
    samples = list(importer)
found = [one for one in samples if Path(one.filepath).is_file() and one["caption"]]
print(json.dumps({"version": importlib.metadata.version("fiftyone"), "samples": len(found)}))
