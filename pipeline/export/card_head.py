"""The YAML head of a dataset card, which dataset hubs and the library `datasets` read."""

from typing import Any

import pyarrow as pa
import yaml

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
        values["license"] = license_name
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
