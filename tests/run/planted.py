"""A working folder full of files that are named like modules and leave a mark when executed."""

import sys
from pathlib import Path

PACKAGES = (
    "pipeline", "train", "cv2", "numpy", "PIL", "pdqhash", "pyarrow", "fsspec", "pydantic", "yaml",
    "typer", "rich", "click", "dask", "distributed", "tornado", "msgpack", "cloudpickle", "duckdb",
    "faiss", "torch", "urllib3", "protego", "dns", "img2dataset", "sitecustomize", "usercustomize",
)  # fmt: skip


def plant(folder: Path) -> Path:
    """The folder, holding a file for every module of the standard library and our own packages."""
    folder.mkdir()
    marks = folder.with_name("executed.txt")
    for name in (*sys.stdlib_module_names, *PACKAGES):
        text = f"open({str(marks)!r}, 'a').write({name!r} + '\\n')\nraise SystemExit({name!r})\n"
        (folder / f"{name}.py").write_text(text)
    return folder


def executed(folder: Path) -> list[str]:
    """The names of the files that were executed."""
    marks = folder.with_name("executed.txt")
    return sorted(set(marks.read_text().split())) if marks.exists() else []
