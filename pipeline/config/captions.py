"""The section `captions`: what is measured on the caption alone."""

from typing import Literal

from pydantic import Field, model_validator

from pipeline.config.base import Section, mask, tuning
from pipeline.words.personal.regions import REGIONS


class ToxicityConfig(Section):
    """Which model scores the captions' toxicity."""

    model: Literal["winnow-toxicity", "profanity-check", "original", "unbiased", "multilingual"] = (
        Field(
            "winnow-toxicity",
            description="`winnow-toxicity` (weights in winnow), `profanity-check` "
            "(alt-profanity-check; weights in the package) or one of Detoxify's models. The first "
            "two judge English words, not what is meant: they flag speaking against hate as often "
            "as hate, miss insults without an insulting word, and know few words in disguise and "
            "no other language (docs/quality.md).",
        )
    )
    checkpoint: str | None = Field(
        None,
        description="Detoxify: folder with the converted checkpoint (`model.safetensors`, "
        "`config.json`, the tokenizer's files), made once by "
        "`python -m pipeline.models.convert_detoxify`.",
    )
    batch_size: int = tuning(64, "Captions per forward pass (Detoxify).", ge=1)
    precision: Literal["auto", "fp32", "bf16", "int8"] = Field(
        "auto",
        description="Detoxify: arithmetic of the network, as `embed.precision`. `auto`: the "
        "fastest whose scores agree with those of fp32 as `max_difference` says, on the first "
        "captions of the job.",
    )
    max_difference: float = Field(
        0.01,
        ge=0,
        le=1,
        description="For `precision: auto`: by how much any score of the first batch may differ "
        "from its fp32 one.",
    )
    only_if: str | None = mask(
        "SQL over the columns of cheaper captions' stages, such as `caption_words >= 3`; rows that "
        "fail it are not measured, and the rules see null: let another rule drop them."
    )

    @property
    def is_packaged(self) -> bool:
        """Whether the weights are part of winnow or of an installed package."""
        return self.model in ("winnow-toxicity", "profanity-check")

    @model_validator(mode="after")
    def _checkpoint_needs_detoxify(self) -> "ToxicityConfig":
        if self.checkpoint and self.is_packaged:
            raise ValueError("`checkpoint` belongs to a Detoxify model: set `model: original` too")
        return self


class CaptionsConfig(Section):
    """Measurements on the caption alone; they cost microseconds and come before any fetching."""

    toxicity: ToxicityConfig | None = Field(
        ToxicityConfig(), description="Toxicity model; null: none of its columns."
    )
    language: bool = Field(
        True,
        description="Identify the language (py3langid and CLD3). `language` is null where it is "
        "unknown, mostly in captions of one to three words: a rule of `language <> 'en'` alone "
        "loses 1.6 % of those that are English, with `and language_score >= 0.6` it loses 1.0 %, "
        "and with `or language is null` 16 % (docs/quality.md).",
    )
    vocabulary: str | tuple[str, ...] | dict[str, str] | None = Field(
        None,
        description="A word list (UTF-8; one word or phrase per line, `#` comments), a list of "
        "them, or a mapping of names to them. `vocabulary_hits` counts their words in each "
        "caption, and with several lists `vocabulary_<name>` those of each; without a name it is "
        "that of the file. A rule for each (`{reason: x_slurs, when: vocabulary_slurs > 0}`) "
        "shows in `winnow stats` which list took how many. Case, width, accents, unseen "
        "characters, look-alike letters and simple leet (`sh1t`) are folded. Only whole words "
        "count, except in Chinese, Japanese and Thai, where a listed word is found inside longer "
        "ones too. Weak against spaced or repeated letters, asterisks and inflected forms: list "
        "those. The words themselves are never shown.",
    )
    phone_regions: tuple[str, ...] = Field(
        REGIONS,
        description="Regions (ISO 3166-1) whose telephone numbers count without a country code, in "
        "the groups of their numbering plan; with `+` or behind a word such as `tel` numbers "
        "of all regions do. Each region more finds more and errs more often. Weak where nothing "
        "marks a number: ten digits in a row and local numbers without area code are not counted.",
    )
