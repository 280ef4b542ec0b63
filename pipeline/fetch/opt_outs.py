"""What a site and the job's lists say about the use of one picture, respected or not."""

from dataclasses import dataclass


@dataclass
class OptOuts:
    """Filled while a picture is fetched; None for what was not looked at or not stated."""

    robots_txt: str | None = None
    """`allowed` or `forbidden`, over the robots.txt files of all redirects."""
    robots_tag: str | None = None
    """The first word of X-Robots-Tag that forbids use."""
    tdm_reservation: bool | None = None
    """Whether TDM-Reservation was 1; None without an answer."""
    listed: str | None = None
    """The list that names the picture or its host, and which of its entries."""
