"""Reads YAML within bounds, so that no file takes long or much memory; errors name the line.

PyYAML alone gives an alias as many values as its anchor has, so that nine lines can stand for a
thousand million, and descends into nested values by recursion.
"""

from collections.abc import Hashable
from typing import Any

import yaml

MOST_BYTES = 1 << 20
"""Bytes of a job file: it takes PyYAML about three seconds, and a job has a few thousand."""
MOST_VALUES = 100_000
"""Values of a job with those that aliases repeat; the longest honest one lists its input files."""
DEEPEST = 50
"""Values within each other; the keys of a job have at most five."""
LONGEST_NUMBER = 100
"""Characters of a number; Python takes long to read one of a hundred thousand digits."""


class JobYamlError(ValueError):
    """The text is not YAML, or is beyond a bound; the message begins with a verb."""


def read_yaml(text: str) -> Any:
    """The value that a YAML text stands for. JobYamlError, naming the line, for any other text."""
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    except _RefusedError as error:
        raise JobYamlError(f"is refused: {error.problem}{_place(error)}") from error
    except yaml.MarkedYAMLError as error:
        what = ", ".join(part for part in (error.context, error.problem) if part)
        raise JobYamlError(f"is not YAML: {what}{_place(error)}") from error
    except yaml.YAMLError as error:
        raise JobYamlError(f"is not YAML: {' '.join(str(error).split())}") from error


class _RefusedError(yaml.MarkedYAMLError):
    """YAML that no job has."""


def _place(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    return f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""


class _Loader(yaml.SafeLoader):
    """PyYAML's loader of plain values with bounds, and without repeated keys."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._values = 0
        self._depth = 0
        self._sizes: dict[str, int] = {}
        """The number of values of each anchor that is complete."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        event, before = self.peek_event(), self._values
        anchor = getattr(event, "anchor", None)
        is_alias = isinstance(event, yaml.AliasEvent)
        if is_alias and anchor in self.anchors and anchor not in self._sizes:
            raise _error(f"`*{anchor}` stands within its own anchor", event)
        self._values += self._sizes.get(anchor, 1) if is_alias and anchor else 1
        self._depth += 1
        if self._values > MOST_VALUES:
            raise _error(
                f"with its aliases it has more than {MOST_VALUES:,} values; use fewer", event
            )
        if self._depth > DEEPEST:
            raise _error(
                f"more than {DEEPEST} values are nested here; no key of a job is that deep", event
            )
        node = super().compose_node(parent, index)
        self._depth -= 1
        if anchor and not is_alias:
            self._sizes[anchor] = self._values - before
        return node

    def compose_mapping_node(self, anchor: Any) -> Any:
        node = super().compose_mapping_node(anchor)
        seen: set[Hashable] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                continue
            if key.value in seen:
                raise _error(f"the key `{key.value}` is here twice; remove one", key)
            seen.add(key.value)
        return node

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        if not isinstance(node, yaml.ScalarNode):
            return super().construct_object(node, deep)
        if any(letter == "\0" or "\ud800" <= letter <= "\udfff" for letter in node.value):
            raise _error("a text with NUL or half a character is here; remove it", node)
        kind = node.tag.rpartition(":")[2]
        if kind in ("int", "float") and len(node.value) > LONGEST_NUMBER:
            raise _error(f"a number of more than {LONGEST_NUMBER} characters is here", node)
        try:
            return super().construct_object(node, deep)
        except (ValueError, OverflowError, KeyError, AttributeError) as error:
            raise _error(f"`{node.value}` is no {kind}; put a text in quotes", node) from error


def _error(problem: str, place: Any) -> _RefusedError:
    return _RefusedError(problem=problem, problem_mark=place.start_mark)
