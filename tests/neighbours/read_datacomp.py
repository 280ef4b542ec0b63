"""DataComp's resharder: `subset.npy` selects the kept rows from the tars of the pool."""

import json
import pathlib
import subprocess
import sys
import tarfile
import tempfile

export, pool, checkout = map(pathlib.Path, sys.argv[1:4])
with tempfile.TemporaryDirectory() as out:
    subprocess.run(
        [sys.executable, checkout / "resharder.py", "-i", pool, "-o", out,
         "-s", export / "subset.npy", "-j", "1", "--shard-size", "1000"],
        check=True, stdout=sys.stderr,
    )  # fmt: skip
    names = []
    for path in pathlib.Path(out).glob("*.tar"):
        with tarfile.open(path) as tar:
            names += tar.getnames()
commit = subprocess.run(
    ["git", "-C", checkout, "rev-parse", "--short", "HEAD"], capture_output=True, text=True
).stdout.strip()
samples = sum(name.endswith(".jpg") for name in names)
print(json.dumps({"version": commit, "samples": samples}))
