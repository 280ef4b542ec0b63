"""The export described in Croissant, the JSON-LD of MLCommons that dataset search engines read."""

import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from pipeline.table.columns import SHARD_COLUMNS

_CONTEXT = {
    "@language": "en", "@vocab": "https://schema.org/", "citeAs": "cr:citeAs",
    "column": "cr:column", "conformsTo": "dct:conformsTo", "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/", "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"}, "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty", "samplingRate": "cr:samplingRate",
    "examples": {"@id": "cr:examples", "@type": "@json"}, "extract": "cr:extract",
    "field": "cr:field", "fileProperty": "cr:fileProperty", "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet", "format": "cr:format", "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset", "jsonPath": "cr:jsonPath", "key": "cr:key",
    "md5": "cr:md5", "parentField": "cr:parentField", "path": "cr:path",
    "recordSet": "cr:recordSet", "references": "cr:references", "regex": "cr:regex",
    "repeated": "cr:repeated", "replace": "cr:replace", "sc": "https://schema.org/",
    "separator": "cr:separator", "source": "cr:source", "subField": "cr:subField",
    "transform": "cr:transform",
}  # fmt: skip
"""That of the format's version 1.0 (docs.mlcommons.org/croissant/docs/croissant-spec.html)."""
_TABLES = "tables"
_TEXTS = {column.name: column.text for column in SHARD_COLUMNS}


def croissant(manifest: Mapping[str, Any], schema: pa.Schema | None) -> bytes:
    """`croissant.json`: the tars and tables with their sizes and sha256, and the tables' columns.

    `manifest` is the export's, `schema` that of its tables. Structs are left out, since the
    format's fields have no type for them.
    """
    files = [
        _file(f"{shard[kind]}", shard[digest], form)
        for shard in manifest["shards"]
        for kind, digest, form in (
            ("tar", "sha256", "application/x-tar"),
            ("parquet", "parquet_sha256", "application/x-parquet"),
        )
    ]
    tables = {
        "@type": "cr:FileSet", "@id": _TABLES, "name": _TABLES,
        "encodingFormat": "application/x-parquet", "includes": "[0-9]*.parquet",
    }  # fmt: skip
    fields = [found for field in schema or () if (found := _field(field))]
    values: dict[str, Any] = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": manifest.get("title") or manifest["name"],
        "description": f"{manifest['rows']:,} image-text pairs, curated by winnow; README.md says "
        "what was left out, and why.",
        "version": "1.0.0",
    }
    if manifest.get("license"):
        values["license"] = manifest["license"]
    values["distribution"] = [*files, tables] if files else []
    if files and fields:
        records = {"@type": "cr:RecordSet", "@id": "samples", "name": "samples", "field": fields}
        values["recordSet"] = [records | {"key": {"@id": "samples/uid"}}]
    return json.dumps(values, indent=1, ensure_ascii=False).encode()


def _file(name: str, sha256: str, form: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject", "@id": name, "name": name, "contentUrl": name,
        "encodingFormat": form, "sha256": sha256,
    }  # fmt: skip


def _field(field: pa.Field) -> dict[str, Any] | None:
    kind, is_list = field.type, pa.types.is_list(field.type) or pa.types.is_large_list(field.type)
    data_type = _data_type(kind.value_type if is_list else kind)
    if data_type is None:
        return None
    found: dict[str, Any] = {
        "@type": "cr:Field", "@id": f"samples/{field.name}", "name": field.name,
        "dataType": data_type,
        "source": {"fileSet": {"@id": _TABLES}, "extract": {"column": field.name}},
    }  # fmt: skip
    if field.name in _TEXTS:
        found["description"] = _TEXTS[field.name]
    return found | ({"repeated": True} if is_list else {})


def _data_type(kind: pa.DataType) -> str | None:
    if pa.types.is_boolean(kind):
        return "sc:Boolean"
    if pa.types.is_integer(kind):
        return "sc:Integer"
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "sc:Float"
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        return "sc:DateTime"
    return None if pa.types.is_nested(kind) or pa.types.is_null(kind) else "sc:Text"
