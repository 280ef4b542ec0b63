"""What curl and Chromium make of an answer: the expected values of the tables of oddities.

curl is asked as a plain fetch, without `--compressed`; Chromium by a page of the same site that
shows the picture in an `img` and reads its pixels from a canvas.
"""

import json
import shutil
import subprocess
import tempfile
import urllib.parse
from collections.abc import Mapping, Sequence

from loopback_site import Handler, Page, Site

CURL = shutil.which("curl")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
_PAGE = """<!doctype html><meta charset=utf-8><script>
const paths = %s, found = {};
async function look(path) {
  const img = new Image();
  const done = new Promise(end => {
    img.onload = () => end('load'); img.onerror = () => end('error');
    setTimeout(() => end('late'), 4000);
  });
  img.src = path;
  const event = await done;
  if (event !== 'load') return null;
  const c = document.createElement('canvas');
  c.width = c.height = 8;
  const ctx = c.getContext('2d');
  ctx.fillStyle = '#fff'; ctx.fillRect(0, 0, 8, 8);
  ctx.imageSmoothingQuality = 'high';
  ctx.drawImage(img, 0, 0, 8, 8);
  return [img.naturalWidth, img.naturalHeight, Array.from(ctx.getImageData(0, 0, 8, 8).data)];
}
(async () => {
  for (const path of paths) found[path] = await look(path);
  for (let at = 0; at < paths.length; at += 5) {
    const some = Object.fromEntries(paths.slice(at, at + 5).map(p => [p, found[p]]));
    await fetch('/viewers/found?' + encodeURIComponent(JSON.stringify(some)));
  }
  await fetch('/viewers/done');
})();
</script>"""


def ask_curl(url: str) -> bytes | None:
    """The body that curl writes; None if it reports an error."""
    assert CURL is not None
    command = [CURL, "-sSL", "-g", "--max-time", "4", "--noproxy", "*", url]
    done = subprocess.run(command, capture_output=True, check=False)
    return done.stdout if done.returncode == 0 else None


def ask_chromium(
    pages: Mapping[str, Page], wanted: Sequence[str], limit: float = 120.0
) -> dict[str, tuple[int, int, list[int]] | None]:
    """By path: width, height and the pixels of the picture drawn into 8×8, RGBA; None if Chromium
    does not show it."""
    assert CHROMIUM is not None
    found: dict[str, tuple[int, int, list[int]] | None] = {}

    def take(h: Handler) -> None:
        query = h.path.partition("?")[2]
        if query:
            for path, shown in json.loads(urllib.parse.unquote(query)).items():
                found[path] = tuple(shown) if shown else None
        h.answer(204)

    def done(h: Handler) -> None:
        h.answer(204)
        finished.append(True)
        browser.terminate()

    def page(h: Handler) -> None:
        h.answer(200, (_PAGE % json.dumps(list(wanted))).encode(), {"Content-Type": "text/html"})

    finished: list[bool] = []
    own: dict[str, Page] = {
        "/viewers/page": page, "/viewers/found": take, "/viewers/done": done
    }  # fmt: skip
    with Site({**pages, **own}) as site, tempfile.TemporaryDirectory() as profile:
        command = [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
            f"--user-data-dir={profile}", "--no-proxy-server", "--disable-dev-shm-usage",
            f"{site.base}/viewers/page",
        ]  # fmt: skip
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as browser:
            try:
                browser.wait(limit)
            except subprocess.TimeoutExpired:
                browser.kill()
    assert finished, f"Chromium did not finish in {limit:g} s"
    return found
