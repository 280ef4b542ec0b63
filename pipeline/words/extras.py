"""Packages that only some jobs need, which an extra of the distribution installs."""

from importlib.util import find_spec

from pipeline.words.errors import InputError


def need_extra(what: str, extra: str, *packages: str) -> None:
    """InputError, with the command that installs them, if one of these packages is missing."""
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise InputError(
            f"{what} needs {' and '.join(missing)}: pip install 'winnow-curation[{extra}]'"
        )
