"""A CLIP model's files, without importing torch: a check before any work, and a digest."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from pipeline.models.clip_source import CONFIG_NAME, OFFLINE_CHOICE, Source, find_source
from pipeline.table.part import file_digest
from pipeline.words.errors import InputError


def check_clip(model: str, pretrained: str | None = None) -> None:
    """Raise InputError unless the model's weights are here, in a cache, or within reach.

    The message names the missing file and what can be used without a network. Within reach means
    that the hub answers: it is asked for the file's metadata, for at most a few seconds.
    """
    source = find_source(model, pretrained)
    if source.repository is None and source.url is None:
        return
    if _cached(source) is None:
        _require_reachable(source, model)


def clip_digest(model: str, pretrained: str | None = None) -> str:
    """SHA-256 (hex) over the config, the vocabulary if the folder has its own, and the weights.

    Weights that are only on the hub are downloaded for it. InputError as `check_clip`.
    """
    source = find_source(model, pretrained)
    files = source.files
    if source.repository is not None or source.url is not None:
        fetched = _cached(source)
        if fetched is None:
            _require_reachable(source, model)
            fetched = _download(source)
        files = (*files, *fetched)
    digest = hashlib.sha256()
    for path in files:
        stat = path.stat()
        digest.update(_file_digest(str(path), stat.st_size, stat.st_mtime_ns))
    return digest.hexdigest()


@lru_cache(maxsize=64)
def _file_digest(path: str, size: int, mtime_ns: int) -> bytes:
    return bytes.fromhex(file_digest(Path(path)))


def _cached(source: Source) -> tuple[Path, ...] | None:
    """The files that the hub's cache (or open_clip's, for plain addresses) holds already."""
    if source.repository is None:
        path = Path("~/.cache/clip").expanduser() / Path(source.url or "").name
        return (path,) if path.is_file() else None
    from huggingface_hub import try_to_load_from_cache

    def find(repository: str, filename: str) -> str | None:
        path = try_to_load_from_cache(repository, filename)
        return path if isinstance(path, str) else None

    return _gather(source, find)


def _download(source: Source) -> tuple[Path, ...]:
    if source.repository is None:
        from open_clip.pretrained import download_pretrained_from_url

        return (Path(download_pretrained_from_url(source.url)),)
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    def fetch(repository: str, filename: str) -> str | None:
        try:
            return hf_hub_download(repository, filename)
        except EntryNotFoundError:
            return None

    found = _gather(source, fetch)
    if found is None:
        raise InputError(f"{source.repository} has none of {', '.join(source.candidates)}")
    return found


def _gather(source: Source, find: Callable[[str, str], str | None]) -> tuple[Path, ...] | None:
    assert source.repository is not None
    config: tuple[Path, ...] = ()
    if source.pretrained is None:
        path = find(source.repository, CONFIG_NAME)
        if path is None:
            return None
        config = (Path(path),)
    for candidate in source.candidates:
        if (path := find(source.repository, candidate)) is not None:
            return (*config, Path(path))
    return None


def _require_reachable(source: Source, model: str) -> None:
    what = f"{source.repository}/{source.candidates[0]}" if source.repository else str(source.url)
    missing = f'clip model "{model}": the weights {what} are not on this machine'
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        raise InputError(f"{missing} and HF_HUB_OFFLINE is set; {OFFLINE_CHOICE}")
    reason = _why_unreachable(source)
    if reason:
        raise InputError(f"{missing} and cannot be fetched ({reason}); {OFFLINE_CHOICE}")


def _why_unreachable(source: Source) -> str | None:
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError

    if source.repository is None:
        host = (source.url or "").split("/")[2]
        try:
            socket.create_connection((host, 443), timeout=4).close()
        except OSError as error:
            return f"{host}: {error}"
        return None
    reason = ""
    for candidate in source.candidates:
        try:
            get_hf_file_metadata(hf_hub_url(source.repository, candidate), timeout=4)
        except EntryNotFoundError:
            reason = f"{source.repository} has no {candidate}"
        except Exception as error:  # every network failure has the same consequence here
            first = (str(error).splitlines() or [""])[0]
            return f"{type(error).__name__}: {first[:120]}"
        else:
            return None
    return reason
