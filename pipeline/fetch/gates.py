"""Which rows a change of the gates concerns; the others keep what was fetched.

A gate is a key of `download:` by which a row is refused (`config.base.ROLES`).
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import simplejpeg

from pipeline.config.download import DownloadConfig
from pipeline.fetch.lists import HashList, read_domains, read_hashes
from pipeline.fetch.opt_outs import OptOuts
from pipeline.fetch.picture.fingerprints import plain_hash
from pipeline.fetch.writer import Fetched
from pipeline.table.tars import members, row_of
from pipeline.words.domains import host_of

Rows = npt.NDArray[np.bool_]

CAPS = {
    "max_bytes": "too_large",
    "max_image_pixels": "image_too_many_pixels",
    "max_metadata_bytes": "metadata_oversize",
}
"""Caps, and the reason they give: a row that a cap refused is stale once the cap is raised."""
OTHER_GATES = {
    "respect_robots_txt": ("opted_out_robots_txt", "robots_txt_unreachable"),
    "respect_robots_tag": ("opted_out_robots_tag",),
    "respect_tdm_reservation": ("opted_out_tdm",),
    "tdmrep_json": ("opted_out_tdm",),
    "max_crawl_delay": ("opted_out_robots_txt",),
    "respect_metadata": ("opted_out_metadata",),
    "user_agent_token": ("opted_out_robots_txt", "opted_out_robots_tag"),
    "allow_addresses": ("address_forbidden",),
    "allow_paths": ("path_forbidden", "url_invalid", "scheme_forbidden"),
    "expected": ("hash_mismatch",),
}
"""Other gates, and the reasons they give: rows refused by a gate are stale once it changes."""


GATE_REASONS = frozenset(
    {
        *CAPS.values(),
        *(reason for given in OTHER_GATES.values() for reason in given),
        *("not_an_image", "opted_out_domain", "blocklisted"),
    }
)
"""All reasons that some gate gives."""


def reconsider(
    config: DownloadConfig,
    before: Mapping[str, Any],
    today: Mapping[str, Any],
    stored: pa.Table,
    urls: pa.ChunkedArray,
    named: Callable[[HashList], Mapping[int, str]],
) -> Rows:
    """Rows of a stored part that may get another result; bool, shape (rows,).

    `before` and `today` hold the gates that are not at their defaults; `named` gives the rows whose
    stored pictures a blocklist names (`named_pictures`).
    """
    defaults = {name: field.default for name, field in DownloadConfig.model_fields.items()}

    def old(name: str) -> Any:
        return before.get(name, defaults.get(name))

    def new(name: str) -> Any:
        return today.get(name, defaults.get(name))

    reasons = [
        reason for cap, reason in CAPS.items() if new(cap) > old(cap)
    ]  # a lower cap is a rule over the stored facts
    for name, given in OTHER_GATES.items():
        # If an opt-out is respected from now on, a rule drops the stored pictures that have it.
        if old(name) != new(name) and new(name) is not True:
            reasons += given
    stale = _is_in(stored["fetch_reason"], reasons)
    # The size of a picture that was refused for its size is stored from its header.
    fits = pc.less_equal(stored["original_pixels"], new("max_image_pixels"))
    too_many = _is_in(stored["fetch_reason"], ["image_too_many_pixels"])
    stale &= ~too_many | np.array(pc.fill_null(fits, True).to_numpy(zero_copy_only=False), bool)
    if "avif" in new("formats") and "avif" not in old("formats"):
        avif = _is_in(stored["format"], ["avif"])
        stale |= avif & _is_in(stored["fetch_reason"], ["not_an_image"])
    if old("opted_out_domains") != new("opted_out_domains"):
        stale |= _other_domains(config, stored, urls)
    lists = ("blocklist", "blocklist_pdq_distance")
    if any(old(name) != new(name) for name in lists):
        stale |= _other_pictures(config, stored, named)
    return stale


def _is_in(column: pa.ChunkedArray, values: Sequence[str]) -> Rows:
    found = pc.is_in(column, value_set=pa.array(values, pa.string()))
    return np.array(found.to_numpy(zero_copy_only=False), bool)


def _other_domains(config: DownloadConfig, stored: pa.Table, urls: pa.ChunkedArray) -> Rows:
    """Rows whose domain is listed today and was not before, or the other way round.

    When it is fetched again, a row of a listed domain is refused before any request, and loses its
    picture.
    """
    domains = read_domains(config.opted_out_domains)
    listed = np.array([bool(domains.match(host_of(url or "") or "")) for url in urls.to_pylist()])
    refused = _is_in(stored["fetch_reason"], ["opted_out_domain"])
    fetched = _is_in(stored["status"], ["success", "failed"])
    return fetched & (listed != refused)


def _other_pictures(
    config: DownloadConfig, stored: pa.Table, named: Callable[[HashList], Mapping[int, str]]
) -> Rows:
    """Rows refused by entries that are gone, and rows with stored pictures that are listed now."""
    blocklist = read_hashes(config.blocklist, config.blocklist_pdq_distance)
    entries = blocklist.entries if blocklist is not None else frozenset()
    refused = _is_in(stored["fetch_reason"], ["blocklisted"])
    stale = refused & np.array([entry not in entries for entry in stored["listed"].to_pylist()])
    if blocklist is not None:
        stale[list(named(blocklist))] = True
    return stale


def named_pictures(stored: pa.Table, tar: Path, blocklist: HashList) -> dict[int, str]:
    """Rows whose stored picture the blocklist names, with its entry: nothing is fetched for it.

    PDQ's own hash is computed from the stored picture, which differs from the fetched one only in
    size.
    """
    found = {}
    for row in np.flatnonzero(_is_in(stored["status"], ["success"])).tolist():
        sha256, md5, phash = (stored[name][row].as_py() for name in ("sha256", "md5", "phash"))
        entry = blocklist.entry_of_bytes(sha256, md5)
        if entry := entry or blocklist.entry_of_picture(*([phash] if phash else [])):
            found[row] = entry
    if len(blocklist.pdq):
        for name, data in members(tar):
            pixels = simplejpeg.decode_jpeg(data, colorspace="RGB")
            if entry := blocklist.entry_of_picture(plain_hash(pixels)):
                found.setdefault(row_of(name), entry)
    return found


def refused_as_listed(entry: str) -> Fetched:
    """The result for a row whose picture the blocklist names."""
    return Fetched("blocklisted", "on the job's list", opt_outs=OptOuts(listed=entry))
