"""The closed vocabulary of reasons: why a row is not in the export; docs/reasons.md shows it."""

import difflib
import re
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Reason:
    """A word of the vocabulary.

    `kind` is "failed" if the row's picture or text could not be read or fetched, "dropped" if it
    was and then judged. `winnow stats` checks that every row is kept, dropped or failed.
    """

    name: str
    kind: Literal["failed", "dropped"]
    text: str


def _words(kind: Literal["failed", "dropped"], **texts: str) -> dict[str, Reason]:
    return {name: Reason(name, kind, text) for name, text in texts.items()}


INGEST = _words(
    "failed",
    malformed_row="The input's line cannot be parsed (JSON, number of fields) or is too long.",
    invalid_utf8="URL or caption is not valid UTF-8.",
    url_missing="The row has no URL.",
    caption_missing="The row has no caption.",
    cell_invalid="A cell does not fit its column (text among numbers) or is too long; it is null.",
    caption_oversize="The caption is longer than 100,000 characters; it is cut to that length.",
)

FETCH = _words(
    "failed",
    url_invalid="The URL cannot be parsed or has no host.",
    scheme_forbidden="Neither http nor https.",
    path_forbidden="A path below no folder of `download.allow_paths`, or that leads out of it.",
    file_missing="A path at which there is no file that can be read.",
    address_forbidden="The host is a private, loopback, link-local or otherwise reserved address.",
    dns_failure="The host's name has no address.",
    connection_failed="No connection, or it broke.",
    tls_error="The server's certificate or TLS handshake is not valid.",
    timeout="The server was too slow: to connect, between bytes, or in total.",
    redirect_limit="Too many redirects, or a loop of them.",
    http_not_found="404 or 410.",
    http_forbidden="401, 403 or 451.",
    http_rate_limited="429, also after the retries.",
    http_client_error="Any other 4xx, or an answer that is not 200.",
    http_server_error="5xx, also after the retries.",
    http_malformed="The answer breaks HTTP, or ends before its Content-Length.",
    host_failing="The host failed many times in a row, so it is not asked for a while.",
    robots_txt_unreachable="The host's robots.txt cannot be read, which forbids all (RFC 9309).",
    too_large="More bytes than `download.max_bytes`.",
    not_an_image="The bytes are not JPEG, PNG, WebP or GIF, whatever the header said.",
    metadata_oversize="A colour profile or EXIF block beyond `download.max_metadata_bytes`.",
    decode_error="The picture's bytes cannot be decoded.",
    decoder_crash="The decoder died on the picture, hung, or asked for too much memory.",
    hash_mismatch="The hash of the bytes is not the one given in the input.",
    download_internal="The downloader lost the row; it was found again by comparing uids.",
) | _words(
    "dropped",
    opted_out_domain="The domain is on the job's list of those that opted out.",
    opted_out_robots_txt="The site's robots.txt forbids fetching it (RFC 9309).",
    opted_out_robots_tag="The site asks not to be used: X-Robots-Tag.",
    opted_out_tdm="The site reserves text and data mining: TDM-Reservation.",
    opted_out_metadata="The picture's own metadata reserves it from training or data mining.",
    blocklisted="The picture is on the job's list of hashes; nothing of it is kept or shown.",
    image_too_small="Shorter side below `download.min_image_size`.",
    image_too_large="Longer side above `download.max_image_side`, or of what a JPEG can hold.",
    image_too_many_pixels="More pixels than `download.max_image_pixels`.",
    image_aspect_ratio="Longer over shorter side above `download.max_aspect_ratio`.",
)

MEASURE = _words(
    "failed",
    worker_killed="A process that fetched or measured this row alone died: it crashed, hung, or "
    "memory ran out. `winnow retry` tries such rows again.",
)

TAKEDOWN = _words(
    "dropped",
    forgotten="Taken down by `winnow forget`; only uid and this reason are left of the row.",
)

RULES = _words(
    "dropped",
    caption_short="The caption is too short to describe a picture.",
    caption_long="The caption is too long.",
    caption_language="Not in a wanted language.",
    vocabulary="Uses a word of the user's own list.",
    pii="Holds an e-mail address, or the number of a telephone, a payment card or a bank account.",
    toxic_caption="Insulting or obscene, by the toxicity model.",
    nsfw="Shows nudity or sex, by the image model.",
    faces="Shows faces: as many or as large as the job's rule says.",
    graphic="Shows gore or violence, by an image head.",
    ai_generated="Says of itself that a model made it: `ai_generated_declared is not null`.",
    watermark="Shows a watermark, by an image head.",
    low_aesthetic="Low aesthetic score, by an image head.",
    low_clip_score="Caption and picture do not match, by the cosine of their vectors.",
    near_blank="Nearly all of the picture is of one colour.",
    low_resolution="Too small for this job's training.",
    duplicate="Another member of the duplicate group is kept.",
    in_eval_set="Is, or shows, a picture of a set that a model is evaluated on (`dedup.against`).",
    in_earlier_set="Is, or shows, a picture of an earlier export (`dedup.against`).",
    not_measured="A stage's `only_if` left the row out.",
)

UNSHOWN = frozenset({"blocklisted", "forgotten"})
"""Reasons whose rows are only counted: no report shows their captions, URLs or pictures."""
VOCABULARY: dict[str, Reason] = INGEST | FETCH | MEASURE | TAKEDOWN | RULES
_CUSTOM = re.compile(r"x_[a-z0-9_]{1,40}")


def check_reason(name: str) -> str:
    """The name itself, if a rule may use it; ValueError with the nearest reason if not."""
    if name in RULES or _CUSTOM.fullmatch(name):
        return name
    near = difflib.get_close_matches(name, RULES, n=1, cutoff=0.5)
    hint = f"did you mean `{near[0]}`?" if near else "the reasons are in docs/reasons.md"
    raise ValueError(
        f"`{name}` is not a reason that a rule may give; {hint} (own ones start with `x_`)"
    )


def kind_of(name: str) -> Literal["failed", "dropped"]:
    """Whether a reason counts as failed or dropped; a job's own (`x_…`) count as dropped."""
    return VOCABULARY[name].kind if name in VOCABULARY else "dropped"
