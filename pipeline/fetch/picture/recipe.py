"""The job's settings for pictures, in a form that can be sent to a decoding process."""

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # importing pydantic would take half of a decoding process's start
    from pipeline.config.download import DownloadConfig


@dataclass(frozen=True)
class Recipe:
    """The fields of `download:` that the decoder needs, under their own names.

    `plain_pdq`: PDQ's own hash is computed too, to compare with a list of hashes that others made.
    """

    image_size: int
    resize_mode: str
    resize_only_if_bigger: bool
    encode_quality: int
    formats: tuple[str, ...]
    max_image_pixels: int
    max_metadata_bytes: int
    decode_memory_mb: int
    respect_metadata: bool
    plain_pdq: bool = False

    @classmethod
    def of(cls, config: "DownloadConfig", plain_pdq: bool = False) -> "Recipe":
        names = [name for name in cls.__dataclass_fields__ if name != "plain_pdq"]
        return cls(**{name: getattr(config, name) for name in names}, plain_pdq=plain_pdq)

    def encode(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def decode(cls, text: str) -> "Recipe":
        values = json.loads(text)
        return cls(**values | {"formats": tuple(values["formats"])})
