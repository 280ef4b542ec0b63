"""The `download:` section of a job."""

import ipaddress
import re
from typing import Literal
from urllib.parse import unquote

from pydantic import Field, field_validator

from pipeline.config.base import Section, effort, gate, mask, rule, tuning

FORMATS: tuple[Literal["jpeg", "png", "webp", "gif"], ...] = ("jpeg", "png", "webp", "gif")
"""Formats that are always decoded and stored; the job's rules decide which of them are kept."""


class DownloadConfig(Section):
    """How pictures are fetched, checked and stored. Drives img2dataset's Downloader."""

    image_size: int = Field(256, ge=16, le=4096, description="Side of the stored picture, pixels.")
    resize_mode: Literal["keep_ratio", "center_crop", "border", "no"] = Field(
        "keep_ratio",
        description="As img2dataset's: shorter side to `image_size`; square crop; white border; "
        "unchanged.",
    )
    resize_only_if_bigger: bool = Field(True, description="Never enlarge a smaller picture.")
    encode_quality: int = Field(95, ge=1, le=100, description="JPEG quality of the stored picture.")
    formats: tuple[Literal["jpeg", "png", "webp", "gif", "avif"], ...] = gate(
        FORMATS,
        min_length=1,
        description="Formats accepted, by the bytes; of a GIF the first frame. `avif` on request.",
    )
    min_image_size: int = rule(64, ge=1, description="Least shorter side accepted, pixels.")
    max_image_side: int = rule(20_000, ge=1, description="Greatest longer side accepted, pixels.")
    max_aspect_ratio: float = rule(3.0, ge=1, description="Greatest longer/shorter side accepted.")
    max_image_pixels: int = gate(
        89_478_485,
        ge=1,
        le=178_956_970,
        description="Most pixels accepted (Pillow warns from 89,478,485 and refuses above "
        "178,956,970).",
    )
    max_metadata_bytes: int = gate(
        4_000_000,
        ge=1,
        description="Byte cap of a colour profile (inflated) and of an EXIF block. Text is never "
        "read, however long.",
    )
    decode_timeout: float = effort(
        20.0, gt=0, description="Seconds that the decoder may take for one picture."
    )
    decode_memory_mb: int = effort(
        2_048, ge=256, description="Memory that the decoder may take for one picture, MiB."
    )
    max_bytes: int = gate(
        20_000_000, ge=1, description="Byte cap per picture, on the wire and after decompression."
    )
    max_header_bytes: int = effort(
        65_536, ge=1_024, description="Byte cap of an answer's status line and headers."
    )
    connect_timeout: float = effort(
        10.0, gt=0, description="Seconds to look a host up, and to connect and shake hands."
    )
    first_byte_timeout: float = effort(
        10.0, gt=0, description="Seconds from the request to the first byte of the answer."
    )
    timeout: float = effort(10.0, gt=0, description="Seconds between bytes after the first.")
    deadline: float = effort(
        30.0, gt=0, description="Total seconds per picture, redirects, retries and pauses too."
    )
    max_redirects: int = effort(5, ge=0, le=20, description="Redirects followed; each is checked.")
    retries: int = effort(
        2,
        ge=0,
        le=10,
        description="Further tries after a passing failure (timeouts, broken connections, 408, "
        "425, 429, 5xx), with back-off, jitter and `Retry-After`, as far as `deadline` allows.",
    )
    allow_addresses: tuple[str, ...] = gate(
        (),
        description="Networks (CIDR) that may be reached although they are private, loopback or "
        "link-local, e.g. `127.0.0.1/32`.",
    )
    allow_paths: tuple[str, ...] = gate(
        (),
        description="Folders, also of a store (`s3://…`), below which pictures may be read where "
        "the list has a path, `file://` or that store's URL in place of a web address. A relative "
        "path is one below the first of them. Empty: a list can read nothing but the web.",
    )
    nameservers: tuple[str, ...] = tuning(
        (), "DNS servers to ask (`9.9.9.9`, `127.0.0.1:5353`) instead of the system's."
    )
    user_agent_token: str = gate(
        "winnow",
        pattern=r"^[A-Za-z][A-Za-z0-9._-]*$",
        description="Product token sent in the User-Agent, and matched in robots.txt and "
        "X-Robots-Tag.",
    )
    user_agent_contact: str | None = effort(
        None,
        pattern=r"^[!-~]+$",
        description="URL or address sent in the User-Agent, for site owners.",
    )
    respect_robots_txt: bool = gate(
        True,
        description="Ask each host's robots.txt first and obey it (RFC 9309). If it is turned on "
        'later, stored pictures stay; `winnow retry --where "robots_txt is null"` asks about '
        "those.",
    )
    respect_robots_tag: bool = gate(
        True,
        description="Drop pictures whose X-Robots-Tag says noai, noimageai, noindex, noimageindex, "
        "none or noml.",
    )
    respect_tdm_reservation: bool = gate(
        True, description="Drop pictures whose TDM-Reservation header is 1 (W3C TDMRep)."
    )
    tdmrep_json: bool = gate(
        True,
        description="Ask each host for `/.well-known/tdmrep.json` too, where TDM-Reservation is "
        "respected: the protocol's statement for many paths at once. One request more per host.",
    )
    max_crawl_delay: float | None = gate(
        30.0,
        ge=0,
        description="Greatest Crawl-delay of robots.txt that is kept to, in seconds between "
        "requests; a host that asks for more is sent no request but for its robots.txt "
        "(`opted_out_robots_txt`). null: Crawl-delay is ignored.",
    )
    respect_metadata: bool = gate(
        True,
        description="Drop pictures whose own metadata reserves them from training or data mining: "
        "PLUS `DataMining` (IPTC) and `tdm:reservation` in XMP, and the training and mining "
        "assertions of C2PA and CAWG. Parts fetched by versions that did not read metadata have "
        "nulls there.",
    )
    opted_out_domains: str | None = gate(
        None,
        description="A file of domains that opted out, one per line, `#` comments; subdomains are "
        "included. They are sent no request.",
    )
    verify_hash: bool = gate(
        True,
        description="Compare the bytes with the input's `columns.sha256` and `columns.md5`, where "
        "it has them.",
    )
    blocklist: str | None = gate(
        None,
        description="A file of hashes whose pictures are neither stored nor shown, one a line: "
        "`sha256:…`, `md5:…` or `pdq:…` in hex, `#` comments.",
    )
    blocklist_pdq_distance: int = gate(
        31, ge=0, le=64, description="Greatest Hamming distance to a PDQ hash of the blocklist."
    )
    only_if: str | None = mask("SQL over earlier columns; rows that fail it are not fetched.")
    thread_count: int = tuning(16, "Concurrent fetches per shard.", ge=1, le=1024)
    decoders: int | None = tuning(
        None, "Decoding processes of a fetching worker; default: the cores.", ge=1, le=256
    )
    per_host: int = tuning(
        8, "Concurrent connections to one host, over all workers of the job.", ge=1
    )
    per_host_rate: float | None = tuning(
        20.0, "Requests a second to one host, over all workers of the job; null: no limit.", gt=0
    )
    host_failures: int | None = tuning(
        8,
        "Failures in a row (timeouts, broken connections, names without address, 5xx, 429) after "
        "which a host is not asked for `host_cooldown` seconds, if it had no more recent successes "
        "than that; null: never.",
        ge=1,
    )
    host_cooldown: float = tuning(
        60.0, "Seconds that a failing host is not asked; its rows get `host_failing`.", gt=0
    )

    @field_validator("allow_addresses")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for network in value:
            ipaddress.ip_network(network)
        return value

    @field_validator("allow_paths")
    @classmethod
    def _folders(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(_folder, value))

    @field_validator("nameservers")
    @classmethod
    def _servers(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for server in value:
            split_nameserver(server)
        return value


def _folder(text: str) -> str:
    """An allowed folder: a path, or the URL of a store that is not this machine's disk."""
    # By other names of the disk, links could lead out of the folder unseen.
    local = re.match(r"(?i)(file|local)://(localhost(?=/))?", text.strip())
    folder = unquote(text.strip()[local.end() :]) if local else text.strip()
    if not folder.strip("/") or re.match(r"(?i)https?:", folder):
        raise ValueError(f"`{text}` is no folder; name one below the root")
    if "::" in folder:
        raise ValueError(f"`{text}` names one store inside another; name the folder itself")
    return folder


def split_nameserver(text: str) -> tuple[str, int]:
    """`9.9.9.9`, `127.0.0.1:5353`, `[::1]:53` to address and port. ValueError for anything else."""
    host, port = text, "53"
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":") or "53"
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    ipaddress.ip_address(host)
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65_536):
        raise ValueError(f"`{text}`: `{port}` is no port")
    return host, int(port)
