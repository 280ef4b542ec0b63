import html
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from made_run import EVIL, Made, many_samples

from pipeline.inspect.report.write import write_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
]


def chromium(url: str, tmp_path: Path) -> str:
    """The page's DOM after its scripts have run; a console error fails the test."""
    done = subprocess.run(
        [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
         f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=6000", "--dump-dom",
         url],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    problems = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    bad = [line for line in problems if re.search(r"error|refused|violat", line, re.IGNORECASE)]
    assert bad == []
    return done.stdout


def test_in_a_browser_charts_are_drawn_and_captions_do_nothing(make, tmp_path: Path) -> None:
    rows = many_samples()
    for row in rows:
        row["source"] = EVIL
    made = make(rows)
    dom = chromium(Path(write_report(made.run)).as_uri(), tmp_path)
    assert "<title>made · winnow report</title>" in dom
    assert dom.count("bk-Figure") >= 7
    assert dom.count("onerror=&quot;") >= 1 or "onerror=" in html.unescape(dom)
    assert not re.search(r"<img[^>]+onerror", dom)


def test_without_the_content_security_policy_captions_are_harmless_too(
    made: Made, tmp_path: Path
) -> None:
    bare = tmp_path / "bare.html"
    bare.write_text(without_policy(made), encoding="utf-8")
    assert "<title>made · winnow report</title>" in chromium(bare.as_uri(), tmp_path)


def test_a_click_shows_one_hidden_picture_and_a_link_opens_a_closed_section(
    made: Made, tmp_path: Path
) -> None:
    page = tmp_path / "clicked.html"
    click = "<script>document.querySelector('button.veil').click()</script></body>"
    page.write_text(without_policy(made).replace("</body>", click), encoding="utf-8")
    dom = chromium(f"{page.as_uri()}#example-timeout", tmp_path)
    assert re.findall(r'class="veil" type="button" aria-pressed="(\w+)"', dom) == ["true", "false"]
    opened = re.findall(r"<details open[^>]*><summary>(.*?)</summary>", dom)
    assert [text[:31] for text in opened] == ["Rows that could not be read or "]


def without_policy(made: Made) -> str:
    page = Path(write_report(made.run)).read_text(encoding="utf-8")
    bare = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    assert bare != page
    return bare
