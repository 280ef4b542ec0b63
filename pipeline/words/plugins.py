"""Finds classes: in the modules of a package, and in other packages by their entry points."""

import importlib
import inspect
import pkgutil
from collections.abc import Mapping
from importlib.metadata import entry_points
from types import ModuleType
from typing import TypeVar

from pipeline.words.errors import InputError

T = TypeVar("T")


def packaged(package: ModuleType, base: type[T]) -> dict[str, type[T]]:
    """The concrete subclasses of `base` that the package's modules define, by their `name`."""
    found: dict[str, type[T]] = {}
    for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        module = importlib.import_module(info.name)
        for kind in vars(module).values():
            if _is_one(kind, base) and kind.__module__ == module.__name__:
                found[kind.name] = kind
    return dict(sorted(found.items()))


def discover(package: ModuleType, base: type[T], group: str, what: str) -> dict[str, type[T]]:
    """The classes of the package, and those that entry points of the group name.

    InputError, naming the other package, for a class that cannot be loaded, is not a subclass of
    `base` or has the name of another one.
    """
    return named(base, group, what, packaged(package, base))


def named(
    base: type[T], group: str, what: str, own: Mapping[str, type[T]] | None = None
) -> dict[str, type[T]]:
    """The classes that entry points of the group name; errors as of `discover`. Names of `own`,
    winnow's classes, are taken."""
    found = dict(own or {})
    for entry in entry_points(group=group):
        place = f"the {what} `{entry.name}` of {entry.dist.name if entry.dist else 'a package'}"
        try:
            kind = entry.load()
            if not _is_one(kind, base):
                missing = ", ".join(sorted(getattr(kind, "__abstractmethods__", ())))
                lacks = f"; it lacks {missing}" if missing else ""
                raise TypeError(f"{entry.value} is no {base.__name__}{lacks}")
        except Exception as error:
            raise InputError(f"{place} cannot be used: {error}; uninstall or repair it") from error
        if kind.name in found:
            raise InputError(f"{place} has the name of another one; uninstall one of them")
        found[kind.name] = kind
    return found


def _is_one(kind: object, base: type[T]) -> bool:
    return inspect.isclass(kind) and issubclass(kind, base) and not inspect.isabstract(kind)
