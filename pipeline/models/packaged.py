"""Models whose weights are part of installed packages."""

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from pipeline.table.part import digest_of, file_digest
from pipeline.words.errors import InputError


@lru_cache(maxsize=8)
def packaged_digest(module: str) -> str:
    """sha256, hex, over the files in a top-level module's `data` folder, without importing it.

    InputError if the module is not installed or has none.
    """
    spec = find_spec(module)
    places = spec.submodule_search_locations if spec is not None else None
    files = [path for place in places or () for path in sorted(Path(place, "data").glob("*"))]
    digests = {path.name: file_digest(path) for path in files if path.is_file()}
    if not digests:
        raise InputError(f"the package of `{module}` or its model is missing; reinstall winnow")
    return digest_of(digests)
