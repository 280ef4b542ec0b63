"""What is done to get a row's picture: a request, or the reading of a file that is here."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from pipeline.config.download import DownloadConfig
from pipeline.fetch.opener import Fetcher
from pipeline.fetch.opt_outs import OptOuts
from pipeline.fetch.paths import find_place, is_path
from pipeline.fetch.stored import StoredPictures
from pipeline.table.places import read_place
from pipeline.table.stored import Stored
from pipeline.words.domains import host_of
from pipeline.words.urls import check_url


@dataclass(frozen=True)
class Request:
    """Rows whose requests have the same `key` share one picture."""

    key: str
    host: str
    """Requests to different hosts are sent side by side; empty for files."""
    get: Callable[[Fetcher, OptOuts], bytes]
    is_url: bool = False
    """Whether the key is a URL; img2dataset sees only numbers of the other keys."""


def request_for(url: str, config: DownloadConfig) -> Request:
    """Of a URL, or of a path that the job allows. FetchError for one that is not to be read."""
    if is_path(url, config.allow_paths):
        place = find_place(url, config.allow_paths)
        read = partial(read_place, place, config.max_bytes)
        return Request(f"path://{place.folder}\0{place.name}", "", lambda _, __: read())
    parsed = check_url(url)
    return Request(
        parsed.url, parsed.netloc or "", lambda fetcher, found: fetcher.fetch(parsed.url, found),
        is_url=True,
    )  # fmt: skip


def request_of_stored(
    url: str, place: Stored, pictures: StoredPictures, config: DownloadConfig
) -> Request:
    """Of a picture that the list's own file holds. No request is sent to `url`, where it once came
    from; but if that domain has opted out, the picture is not used either."""

    host = host_of(url) or host_of(f"http://{url.lstrip('/')}")

    def get(fetcher: Fetcher, found: OptOuts) -> bytes:
        fetcher.refuse_host(host or "", found)
        return pictures.read(place, config.max_bytes)

    return Request(f"stored://{place}\0{url}", "", get)
