"""How much of a picture may be missing."""

from pipeline.words.oddities import DATA_CUT

MOST_MISSING = 0.01
"""Greatest share of pixels that may be missing of a picture that is stored. Viewers show what there
is of any; but a picture of which a part is grey is not the picture that its caption describes."""


class CutShortError(ValueError):
    """More of the pixels are missing than `MOST_MISSING`."""

    def __init__(self, share: float) -> None:
        super().__init__(f"cut short: about {max(share, 0.01):.0%} of the pixels are missing")


def check_missing(share: float, odd: set[str]) -> None:
    """Note in `odd` that a share of the pixels is missing. CutShortError if it is too great."""
    if share > MOST_MISSING:
        raise CutShortError(share)
    if share > 0:
        odd.add(DATA_CUT)
