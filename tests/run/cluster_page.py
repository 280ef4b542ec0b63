"""The blocks of docs/cluster.md, for the tests that run them."""

import re

from clusters import ROOT

PAGE = (ROOT / "docs" / "cluster.md").read_text()


def block(start: str, language: str = "sh") -> str:
    """The block with this line, or start of a line, in it."""
    found = [
        body
        for body in re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
        if re.search(rf"^{re.escape(start)}", body, re.MULTILINE)
    ]
    assert len(found) == 1, (start, len(found))
    return str(found[0])


def adapted(text: str, **places: str) -> str:
    """The text with its places replaced; each must be there."""
    for there, here in places.items():
        assert there in text, (there, text)
        text = text.replace(there, here)
    return text
