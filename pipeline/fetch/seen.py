"""What a site and the job's lists said about the use of one picture, whatever came of it."""

from dataclasses import dataclass


@dataclass
class Seen:
    """Filled on the way to a picture; None where nobody was asked or nothing was said."""

    robots_txt: str | None = None
    """`allowed` or `forbidden`, by every robots.txt on the way."""
    robots_tag: str | None = None
    """The first word of X-Robots-Tag that forbids use."""
    tdm_reservation: bool | None = None
    """Whether TDM-Reservation was 1; None without an answer."""
    listed: str | None = None
    """The list that names the picture or its host, and which of its entries."""
