"""The section `dedup` of a job."""

from typing import Any, Literal

from pydantic import Field, model_validator

from pipeline.config.base import Section, rule

_PHASH_FLOOR, _VECTOR_FLOOR = 31, 0.94
_EXACT = ("bytes", "pixels")
_SEARCH = (
    *_EXACT, "phash_quality", "turned", "verify", "verify_neighbours", "verify_budget", "cells",
    "cells_searched",
)  # fmt: skip
_MEASURED = ("floor", "against", "descriptor", "descriptor_size")
_BY_VECTORS = ("vector_similarity", "thumbnail_similarity")
_BY_ALIGNMENT = ("verify_similarity", "verify_colour")


class DedupFloor(Section):
    """Down to where pairs are searched and noted. A threshold above its floor then costs no new
    search."""

    phash_distance: int | None = Field(
        None,
        ge=0,
        le=64,
        description="Greatest Hamming distance that is noted; null: 31, or the threshold if that "
        "is greater.",
    )
    vector_similarity: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Least cosine that is noted; null: 0.94, or the threshold if that is less.",
    )
    verify_similarity: float = Field(
        0.2, ge=0, le=1, description="Least likeness of aligned pictures that is noted."
    )


class AgainstSet(Section):
    """A set that the pictures are held against."""

    path: str = Field(
        description="An export, a folder of pictures, a table (.parquet, .csv, .jsonl) with a "
        "column `sha256` or `phash` (64 hexadecimal digits), or vectors of the job's own model "
        "(.npy). A local path, which every worker must reach."
    )
    use: Literal["eval", "earlier"] = Field(
        "eval",
        description="What its pictures are for. `eval`: a model is evaluated on them, so that it "
        "must not be trained on them (`in_eval_set`). `earlier`: they were exported before, so "
        "that only new ones are wanted (`in_earlier_set`).",
    )


class DedupConfig(Section):
    """Which rows count as duplicates."""

    bytes: bool = Field(True, description="Rows with the same sha256 of the fetched bytes.")
    pixels: bool = Field(
        True,
        description="Rows whose stored pictures have the same pixels, whatever the file's format.",
    )
    phash_distance: int | None = Field(
        31,
        ge=0,
        le=64,
        description="Greatest Hamming distance of two PDQ hashes (256 bits); null: off.",
    )
    phash_quality: int = Field(
        50,
        ge=0,
        le=100,
        description="PDQ hashes of lower quality (flat pictures) are not compared.",
    )
    phash_thumbnail_similarity: float | None = Field(
        0.9,
        gt=0,
        le=1,
        description="A pair found by its PDQ hashes must also agree this much (cosine) on 12×12 "
        "thumbnails, because PDQ ignores colour; on their luminances if one of the two is grey. "
        "Null: the hashes decide alone.",
    )
    turned: bool = Field(
        True,
        description="Also compares the hashes of pictures that are mirrored, or turned by a "
        "quarter.",
    )
    verify: bool = Field(
        True,
        description="Finds crops, borders, screenshots, rotations: pictures whose vectors are "
        "near (of CLIP, else of open_nsfw) are laid on each other, and are alike if what both show "
        "agrees. About 30 ms of a core for each picture. False: CLIP's vectors decide, with the "
        "two keys below.",
    )
    verify_similarity: float = Field(
        0.3,
        ge=0,
        le=1,
        description="Least likeness of two pictures that are laid on each other: the correlation "
        "that four of five parts of them reach. 0.3 is for photographs. Drawings of one outline "
        "need 0.9 or more, and icons that differ in one small sign are still called the same.",
    )
    verify_colour: float = Field(
        0.75,
        ge=-1,
        le=1,
        description="Least agreement of their colours (cosine); of their luminances if one of the "
        "two is grey.",
    )
    verify_neighbours: int = Field(
        10, ge=1, le=100, description="How many of its nearest a picture is at most laid on."
    )
    verify_budget: float = Field(
        6.0,
        gt=0,
        description="How many pairs are laid on each other at most, for each picture of the job, "
        "the nearest first. What is left unchecked is counted in the log.",
    )
    vector_similarity: float | None = Field(
        0.96,
        gt=0,
        le=1,
        description="Without `verify`: least cosine of two picture vectors; null: off. Needs "
        "`embed.model`.",
    )
    thumbnail_similarity: float | None = Field(
        0.95,
        gt=0,
        le=1,
        description="A pair found by its vectors must also agree this much (cosine) on 12×12 "
        "thumbnails, because CLIP vectors of different pictures with one caption can be near. "
        "Null: the vectors decide alone.",
    )
    against: tuple[AgainstSet, ...] = Field(
        (),
        description="Other sets: pictures that are in one of them are found by their bytes, by "
        "their hashes, and as `verify` does; the columns `against_…` say which they are. Copies in "
        "the job itself are not found by it.",
    )
    descriptor: str | None = Field(
        None,
        description="A network that was made to find copies, in place of CLIP or open_nsfw: a "
        "TorchScript file that takes pictures (rows, 3, size, size) with ImageNet's mean and "
        "deviation, and gives vectors, such as SSCD's `sscd_disc_mixup.torchscript.pt`.",
    )
    descriptor_size: int = Field(
        288, ge=16, le=1024, description="Pixels of a side of what `descriptor` takes."
    )
    cells: int | None = Field(
        None,
        ge=1,
        description="Into how many cells the vectors are divided for the search; 1: every pair is "
        "compared. Null: 1 up to 20,000 vectors, above as many as make the least work, twice the "
        "root of their number at `cells_searched: 4`. `winnow plan` says what is chosen.",
    )
    cells_searched: int = Field(
        4,
        ge=1,
        description="Within how many of its nearest cells a vector is compared: more find more, "
        "and take longer. What is missed is estimated in every such search, and reported.",
    )
    floor: DedupFloor = Field(DedupFloor(), description="Down to where pairs are noted.")
    prefer: tuple[str, ...] = rule(
        ("dup_pixels", "dup_centrality", "bytes", "clip_score"),
        "Columns that choose the member of a group that is kept, greatest value first; ties by "
        "uid. By default the largest without what was added around it, then the one that is most "
        "like what the others of its size show, then the one of more bytes.",
    )

    captions: Literal["drop", "merge", "keep"] = rule(
        "drop",
        "What becomes of the captions of a picture that is there several times. `drop`: they go "
        "with the copies. `merge`: the copy that is kept gets them all in the column `captions`, "
        "the one of the greatest `clip_score` as its `.txt`, and the trainer draws one each time. "
        "`keep`: a copy is dropped only for one with the same caption, but for case and white "
        "space.",
    )

    @model_validator(mode="after")
    def _floors_are_below(self) -> "DedupConfig":
        floor = self.floor
        if floor.phash_distance is not None and (self.phash_distance or 0) > floor.phash_distance:
            raise ValueError(
                f"floor.phash_distance {floor.phash_distance} is stricter than phash_distance "
                f"{self.phash_distance}; pairs between the two would never be found"
            )
        if floor.verify_similarity > self.verify_similarity:
            raise ValueError(
                f"floor.verify_similarity {floor.verify_similarity} is above verify_similarity "
                f"{self.verify_similarity}; pairs between the two would never be found"
            )
        least, line = floor.vector_similarity, self.vector_similarity
        if least is not None and line is not None and least > line:
            raise ValueError(
                f"floor.vector_similarity {least} is above vector_similarity {line}; "
                "pairs between the two would never be found"
            )
        return self

    @property
    def needs_descriptors(self) -> bool:
        """Whether the pictures must be looked at, beyond what the fetch notes of them."""
        turned = self.turned and self.phash_distance is not None
        return self.pixels or self.verify or turned or self.descriptor is not None

    @property
    def phash_floor(self) -> int:
        own = self.floor.phash_distance
        return own if own is not None else max(_PHASH_FLOOR, self.phash_distance or 0)

    @property
    def vector_floor(self) -> float | None:
        if self.vector_similarity is None:
            return None
        own = self.floor.vector_similarity
        return own if own is not None else min(_VECTOR_FLOOR, self.vector_similarity)

    def search_settings(self, *, by_clip: bool) -> dict[str, Any]:
        """What changes which pairs are found and noted, but for what is as by default, as JSON
        values."""
        default = DedupConfig()._search(by_clip)
        own = self._search(by_clip)
        return {
            name: own[name] for name in own if name not in default or own[name] != default[name]
        }

    def _search(self, by_clip: bool) -> dict[str, Any]:
        found: dict[str, Any] = {name: getattr(self, name) for name in _SEARCH}
        found["phash_floor"] = None if self.phash_distance is None else self.phash_floor
        if self.verify:
            found["verify_floor"] = self.floor.verify_similarity
        elif by_clip or self.descriptor is not None:
            found["vector_floor"] = self.vector_floor
        return found

    def threshold_settings(self) -> dict[str, Any]:
        """What changes which of the noted pairs count, as JSON values."""
        found = self.recipe()
        searched = set(_SEARCH).difference((*_EXACT, "verify"))
        unused = _BY_VECTORS if self.verify else _BY_ALIGNMENT
        for name in (*searched, *_MEASURED, *unused):
            found.pop(name, None)
        return found
