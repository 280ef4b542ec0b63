"""Reads title and keywords of an SVG file, which may be broken or hostile."""

from __future__ import annotations

from dataclasses import dataclass
from xml.parsers import expat

MAX_TEXT = 1_000
"""Longest title or keyword kept, in characters; an entity's text may be no longer."""
_MAX_ENTITIES = 64
_MAX_KEYWORDS = 256


@dataclass(frozen=True)
class Metadata:
    """What a picture says of itself: `title` is None if it has none, `problem` None if the file
    could be read as far as needed.
    """

    title: str | None
    keywords: tuple[str, ...]
    problem: str | None = None


class _RefusedError(Exception):
    pass


class _DoneError(Exception):
    pass


class _Reader:
    """Collects Dublin Core from `Work` elements (Creative Commons' RDF) as the parser goes along.

    Names are compared without their prefixes: many files use `dc:` without ever declaring it.
    """

    def __init__(self) -> None:
        self.path: list[str] = []
        self.texts: dict[str, list[str]] = {"work": [], "svg": [], "keyword": []}
        self.buffer: list[str] | None = None
        self.kind = ""
        self.length = 0
        self.entities = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self.path.append(name.rpartition(":")[2])
        kind = self._kind()
        if kind:
            self.buffer, self.kind, self.length = [], kind, 0

    def end(self, name: str) -> None:
        if self.buffer is not None and self._kind() == self.kind:
            self.close()
        if self.path and self.path.pop() == "Work" and self.texts["work"]:
            raise _DoneError

    def close(self) -> None:
        """Keep what the open element holds so far."""
        text = " ".join("".join(self.buffer or []).split())[:MAX_TEXT]
        self.buffer = None
        if text and len(self.texts[self.kind]) < _MAX_KEYWORDS:
            self.texts[self.kind].append(text)

    def text(self, data: str) -> None:
        if self.buffer is not None and self.length < 4 * MAX_TEXT:
            self.buffer.append(data)
            self.length += len(data)

    def entity(self, name: str, parameter: bool, value: str | None, *rest: object) -> None:
        """Refuse what can grow without bound (a "billion laughs") or names other files."""
        self.entities += 1
        if parameter or value is None or "&" in value or len(value) > MAX_TEXT:
            raise _RefusedError(f"entity `{name[:40]}` refused")
        if self.entities > _MAX_ENTITIES:
            raise _RefusedError(f"more than {_MAX_ENTITIES} entities")

    def _kind(self) -> str:
        if self.path[-2:] == ["Work", "title"]:
            return "work"
        if self.path[-1:] == ["li"] and "subject" in self.path and "Work" in self.path:
            return "keyword"
        return "svg" if self.path == ["svg", "title"] else ""


def read_metadata(data: bytes) -> Metadata:
    """The Dublin Core title (else the drawing's own `<title>`) and subjects of an SVG file's bytes.

    Nothing is fetched and no entity is expanded into another. It never raises for what is in the
    file: reading ends where the file breaks, and what came before is used.
    """
    reader, parser = _Reader(), expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    parser.EntityDeclHandler = reader.entity
    problem = None
    try:
        parser.Parse(data, True)
    except _DoneError:
        pass
    except (expat.ExpatError, _RefusedError, ValueError, LookupError) as error:
        problem = str(error)
    titles = reader.texts["work"] or reader.texts["svg"]
    keywords = tuple(dict.fromkeys(reader.texts["keyword"]))
    return Metadata(titles[0] if titles else None, keywords, problem)
