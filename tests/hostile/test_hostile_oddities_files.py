"""Files after public bug reports: viewers' pictures are stored, and a column says what is wrong."""

import numpy as np
import pytest
from odd_files import FILES
from plain_scenes import scene
from viewers import CHROMIUM, ask_chromium
from wire_pages import picture

from pipeline.words.oddities import WORDS

PAGES = {f"/file/{i}": picture(odd.data) for i, odd in enumerate(FILES.values())}
PATHS = dict(zip(FILES, PAGES, strict=True))
OTHER_SIZES = {"gif-of-a-smaller-frame": (120, 100)}


@pytest.fixture(scope="module")
def outcome(serve, run):
    site = serve(PAGES)
    return run([f"{site.base}{path}" for path in PAGES], {"image_size": 80})


@pytest.mark.parametrize("name", FILES)
def test_each_odd_file_is_stored_or_has_its_reason(name, outcome):
    odd, at = FILES[name], list(FILES).index(name)
    row = outcome.rows[at]

    assert row["fetch_reason"] == odd.reason, (odd.source, row["error_message"])
    assert row["decode_warnings"] == odd.warnings
    assert set((row["decode_warnings"] or "").split(", ")) <= {*WORDS, ""}
    if odd.reason is None and name not in OTHER_SIZES:
        middle = np.s_[8:-8:16, 8:-8:16]
        assert np.abs(outcome.pixels(at)[middle] - scene()[middle]).mean() < 16


@pytest.mark.parametrize("name", FILES)
def test_we_differ_from_the_browser_only_with_a_reason(name):
    assert FILES[name].agrees or FILES[name].why, FILES[name].source


def test_the_frame_of_a_gif_stands_on_white(outcome):
    at = list(FILES).index("gif-of-a-smaller-frame")

    pixels = outcome.pixels(at)
    assert (pixels[:4].min(), pixels[-4:].min()) >= (250, 250)


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_chromium_still_says_what_the_table_says():
    shown = ask_chromium(PAGES, list(PAGES))

    found = {name: shown[path] is not None for name, path in PATHS.items()}
    assert found == {name: odd.chromium for name, odd in FILES.items()}
    sizes = {name: shown[path][:2] for name, path in PATHS.items() if shown[path]}
    assert sizes == dict.fromkeys(sizes, (96, 80)) | OTHER_SIZES
