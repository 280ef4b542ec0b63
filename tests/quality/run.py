"""Measures the filters again and writes the tables into docs/quality.md: `make quality`.

Each other module here is a topic: `BLOCKS` names blocks of docs/quality.md, which stand there
between `<!-- begin NAME -->` and `<!-- end NAME -->`, and `tables(data)` gives their Markdown by
name. Public yardsticks are no part of the project: a topic looks for them in the folder that --data
names, and without it gives no block that needs them, so that its figures of an earlier day stay.
"""

import argparse
import importlib
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "quality.md"


def topics() -> list[str]:
    """Names of the topics' modules."""
    own = {"run", "scores"}
    return sorted(p.stem for p in Path(__file__).parent.glob("*.py") if p.stem not in own)


def blocks(text: str) -> list[str]:
    """Names of a page's blocks, in their order."""
    return re.findall(r"^<!-- begin (.+) -->$", text, re.MULTILINE)


def replace_block(text: str, name: str, content: str) -> str:
    """The page with the block's content replaced; ValueError if it has no such block."""
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    pattern = re.compile(f"{re.escape(begin)}\n.*?{re.escape(end)}", re.DOTALL)
    changed, found = pattern.subn(lambda _: f"{begin}\n{content.strip()}\n{end}", text)
    if found != 1:
        raise ValueError(f"{PAGE} has {found} blocks {begin} … {end}; one is expected")
    return changed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("topics", nargs="*", help=f"of {', '.join(topics())}; default: all")
    parser.add_argument("--data", type=Path, help="folder with the public yardsticks")
    asked = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    text = PAGE.read_text(encoding="utf-8")
    for topic in asked.topics or topics():
        module = importlib.import_module(f"tests.quality.{topic}")
        for name, content in module.tables(asked.data).items():
            print(f"{name}\n{content}\n")
            text = replace_block(text, name, content)
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
