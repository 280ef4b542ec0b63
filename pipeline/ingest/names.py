"""Which columns of a list hold URL and caption, under the names that lists in use have."""

import difflib
from collections.abc import Iterable, Sequence

from pipeline.words.errors import InputError

URL_NAMES = (
    "image_url", "url", "URL", "coco_url", "flickr_url", "download_url", "image_urls", "file_name",
    "image_path", "path",
)  # fmt: skip
"""`image_url` comes first: beside it, `url` is the page's (RedCaps, WIT). The last are paths, for
`download.allow_paths`; `file_name` is that of a folder of pictures (Hugging Face's imagefolder)."""
PATH_NAMES = ("file_name", "image_path", "path")
CAPTION_NAMES = ("caption", "text", "TEXT", "alt", "captions")
FALLBACKS = (
    # Wikipedia-based Image Text: the best description that a picture has.
    ("caption_reference_description", "caption_attribution_description",
     "caption_alt_text_description"),
    # YFCC100M
    ("description", "title"),
)  # fmt: skip
"""Columns that together hold the caption: of each row, the first of them that is not empty."""
YFCC = (
    "photo_id", "user_nsid", "user_nickname", "date_taken", "date_uploaded", "capture_device",
    "title", "description", "user_tags", "machine_tags", "longitude", "latitude", "accuracy",
    "page_url", "download_url", "license_name", "license_url", "server_id", "farm_id", "secret",
    "secret_original", "extension", "is_video",
)  # fmt: skip
"""The columns of yfcc100m_dataset, which has no header line (arXiv:1503.01817)."""
YFCC_QUOTED = ("user_nickname", "capture_device", "title", "description", "user_tags",
               "machine_tags")  # fmt: skip
"""Those whose text is percent-encoded, with `+` for a space."""
_SHOWN = 20


def knows_pair(names: Sequence[str], also: Sequence[str | None] = ()) -> bool:
    """Whether these columns hold a URL and a caption under usual names, or those of `also`."""
    here = set(names)
    captions = here.intersection((*CAPTION_NAMES, *also)) or any(
        here.issuperset(f) for f in FALLBACKS
    )
    return bool(here.intersection((*URL_NAMES, *also)) and captions)


def find_url(names: Iterable[str], wanted: str | None, place: str = "input") -> str:
    """The column of URLs. InputError names those found and the nearest name."""
    return _find(list(names), wanted, URL_NAMES, "url", place)


def find_captions(
    names: Iterable[str], wanted: Sequence[str] | None, place: str = "input"
) -> tuple[str, ...]:
    """The columns of captions: of each row, the first that is not empty counts. InputError as of
    `find_url`."""
    names = list(names)
    if wanted is not None:
        return tuple(_find(names, name, CAPTION_NAMES, "caption", place) for name in wanted)
    if not set(CAPTION_NAMES).intersection(names):
        for several in FALLBACKS:
            if set(several) <= set(names):
                return several
    return (_find(names, None, CAPTION_NAMES, "caption", place),)


def _find(names: list[str], wanted: str | None, usual: Sequence[str], what: str, place: str) -> str:
    if wanted is not None:
        if wanted in names:
            return wanted
        near = difflib.get_close_matches(wanted, names, n=1)
    else:
        for name in usual:
            if name in names:
                return name
        near = _like(names, usual, what)
    near = near or [name for name in names if name.startswith("column_")][-1:]
    hint = f"; is it `{near[0]}`? Then set `columns.{what}: {near[0]}`" if near else ""
    expected = wanted or " or ".join(f"`{name}`" for name in usual)
    shown = ", ".join(name if len(name) <= 60 else f"{name[:57]}…" for name in names[:_SHOWN])
    more = ", …" if len(names) > _SHOWN else ""
    raise InputError(f"{place}: no {what} column ({expected}); the columns are {shown}{more}{hint}")


def _like(names: list[str], usual: Sequence[str], what: str) -> list[str]:
    lower = {name.lower(): name for name in names}
    near = [
        lower[match]
        for name in usual
        for match in difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0.5)
    ]
    return near + [name for name in names if what in name.lower()]
