"""The columns of the download stage: what was fetched, and what it says of itself."""

import pyarrow as pa

from pipeline.table.columns import LATE, Column

FETCH_COLUMNS = (
    Column(
        "status",
        pa.string(),
        "`success`; `failed` (see `fetch_reason`); `skipped` (`only_if` is not true); `invalid` "
        "(see `input_error`).",
    ),
    Column("fetch_reason", pa.string(), "Why there is no picture; null on success."),
    Column("error_message", pa.string(), "The reason's detail, at most 300 characters."),
    Column(
        "robots_txt",
        pa.string(),
        "`allowed` or `forbidden` by the site's robots.txt; null where it was not asked.",
    ),
    Column("robots_tag", pa.string(), "The word of X-Robots-Tag that forbids use, or null."),
    Column(
        "tdm_reservation",
        pa.bool_(),
        "TDM-Reservation reserves it: says 1, or anything but 0; null without an answer.",
    ),
    Column(
        "listed",
        pa.string(),
        "The job's list that names it: `domain:` and the domain, or `blocklist:` and a digest of "
        "the entry.",
    ),
    Column("sha256", pa.string(), "sha256 (hex) of the bytes as fetched."),
    Column("md5", pa.string(), "md5 (hex) of the bytes as fetched."),
    Column("bytes", pa.int64(), "Bytes as fetched, after any content encoding."),
    Column("format", pa.string(), "`jpeg`, `png`, `webp`, `gif` or `avif`, by the bytes."),
    Column("width", pa.int32(), "Width of the stored JPEG, pixels."),
    Column("height", pa.int32(), "Height of the stored JPEG, pixels."),
    Column("original_width", pa.int32(), "Width of the picture as fetched, upright, pixels."),
    Column("original_height", pa.int32(), "Height of the picture as fetched, upright, pixels."),
    Column("original_pixels", pa.int64(), "Width times height of the picture as fetched."),
    Column("phash", pa.binary(32), "PDQ hash, 256 bits."),
    Column("phash_quality", pa.int32(), "PDQ's quality, 0–100; low for flat pictures."),
    Column("thumb", pa.binary(432), "The picture at 12×12 RGB, uint8, row by row."),
    *LATE,
)
