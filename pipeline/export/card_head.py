"""The YAML head of a dataset card, which dataset hubs and the library `datasets` read."""

import re
from typing import Any

import pyarrow as pa
import yaml

LICENSES = frozenset({
    "apache-2.0", "mit", "openrail", "bigscience-openrail-m", "creativeml-openrail-m",
    "bigscience-bloom-rail-1.0", "bigcode-openrail-m", "afl-3.0", "artistic-2.0", "bsl-1.0",
    "bsd", "bsd-2-clause", "bsd-3-clause", "bsd-3-clause-clear", "c-uda", "cc", "cc0-1.0",
    "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0",
    "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nd-4.0", "cc-by-nc-nd-3.0",
    "cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0",
    "cdla-sharing-1.0", "cdla-permissive-1.0", "cdla-permissive-2.0", "wtfpl", "ecl-2.0",
    "epl-1.0", "epl-2.0", "etalab-2.0", "eupl-1.1", "eupl-1.2", "agpl-3.0", "gfdl", "gpl",
    "gpl-2.0", "gpl-3.0", "lgpl", "lgpl-2.1", "lgpl-3.0", "isc", "h-research", "intel-research",
    "lppl-1.3c", "ms-pl", "apple-ascl", "apple-amlr", "mpl-2.0", "odc-by", "odbl",
    "openmdw-1.0", "openrail++", "osl-3.0", "postgresql", "ofl-1.1", "ncsa", "unlicense",
    "zlib", "pddl", "lgpl-lr", "deepfloyd-if-license", "fair-noncommercial-research-license",
    "llama2", "llama3", "llama3.1", "llama3.2", "llama3.3", "llama4", "grok2-community",
    "gemma", "unknown", "other",
})  # fmt: skip
"""The ids that Hugging Face's hub accepts (huggingface.co/docs/hub/repositories-licenses)."""
_FLOATS = {"halffloat": "float16", "float": "float32", "double": "float64"}


def card_head(title: str, license_name: str | None, rows: int, schema: pa.Schema | None) -> str:
    """The head between its lines of dashes; `schema` is that of the exported tables, or None.

    It names one configuration, the tars: without it `datasets` would load the parquet and JSON
    files as further rows. `datasets` uses one reader for all configurations of a folder, so the
    parquet files cannot be a second one. The types are given because it would infer them from the
    first five rows, in which a column may have only nulls.
    """
    values: dict[str, Any] = {"pretty_name": title}
    if license_name:
        values |= _license(license_name)
    values |= {
        "task_categories": ["text-to-image", "image-to-text"],
        "size_categories": [_size(rows)],
        "configs": [
            {"config_name": "default", "data_files": [{"split": "train", "path": "*.tar"}]}
        ],
    }
    if schema is not None:
        values["dataset_info"] = {"config_name": "default", "features": _features(schema)}
    return f"---\n{yaml.safe_dump(values, sort_keys=False, allow_unicode=True)}---\n"


def _license(text: str) -> dict[str, str]:
    """A licence as dataset hubs know it, by its id in small letters; of any other `other` and its
    name, or its address."""
    if (own := re.sub(r"[\s_]+", "-", text.strip().lower())) in LICENSES:
        return {"license": own}
    if re.match(r"https?://", text.strip()):
        return {"license": "other", "license_name": "see-link", "license_link": text.strip()}
    return {"license": "other", "license_name": own}


def _features(schema: pa.Schema) -> list[dict[str, Any]]:
    """The members of a sample and, under `json`, the columns in the types that JSON gives them."""
    columns = [{"name": field.name, **_feature(field.type)} for field in schema]
    return [
        {"name": "jpg", "dtype": "image"},
        {"name": "txt", "dtype": "string"},
        {"name": "json", "struct": columns},
        {"name": "__key__", "dtype": "string"},
        {"name": "__url__", "dtype": "string"},
    ]


def _feature(kind: pa.DataType) -> dict[str, Any]:
    """A column's type as a member of `features`."""
    if pa.types.is_list(kind):
        member = _feature(kind.value_type)
        return {"list": member.get("dtype") or member.get("struct") or member}
    if pa.types.is_struct(kind):
        return {"struct": [{"name": field.name, **_feature(field.type)} for field in kind]}
    return {"dtype": _json_type(kind)}


def _json_type(kind: pa.DataType) -> str:
    """A column's type in the names of `datasets`; times and decimals are text in the JSON files."""
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind):
        return str(kind)
    return _FLOATS[str(kind)] if pa.types.is_floating(kind) else "string"


def _size(rows: int) -> str:
    bounds = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"))
    larger = ((1_000_000, "100K<n<1M"), (10_000_000, "1M<n<10M"), (100_000_000, "10M<n<100M"))
    return next((name for bound, name in bounds + larger if rows < bound), "n>100M")
