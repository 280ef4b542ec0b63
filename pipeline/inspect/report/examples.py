"""Rows to look at: a seeded few per reason, and duplicate groups with all that they joined."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import duckdb

from pipeline.engine.parts import Parts
from pipeline.inspect.plain import host_of, number, plain, shown_caption, shown_url
from pipeline.inspect.report.pictures import thumbnails
from pipeline.inspect.rules import ShownRule
from pipeline.inspect.view import connect
from pipeline.table.run import Run
from pipeline.words.reasons import FETCH, UNSHOWN

PER_REASON = 6
SHARDS = {True: 40, False: 4}
"""Shards that pictures are looked up in where possible, on a local disk and elsewhere: each costs
a walk through its tar. With more shards, examples come from a seeded choice of them first."""
GROUPS_PER_KIND = 3
LARGEST = 2
MEMBERS = 6
VEILED = {"nsfw", "graphic"}
UNSAFE = 0.5
"""Pictures with at least this `punsafe` are veiled, whatever the job's rules."""


Candidates = dict[str, list[tuple[int, tuple[int, int]]]]
"""By first reason, or "kept": the rows with the lowest sort keys: (key, (shard, row)), sorted."""


def candidates(db: duckdb.DuckDBPyConnection, table: str, nearby: bool, seed: int) -> Candidates:
    """Up to `PER_REASON` rows of a table to look at per reason, and of kept ones.

    None of rows that may only be counted. If `nearby`, they are rows of few shards.
    """
    hidden = ", ".join(f"'{reason}'" for reason in sorted(UNSHOWN))
    # DuckDB's own hash: md5 would take a quarter of the time of the whole pass.
    order = f"(hash(uid || '-{seed}') >> 25)::BIGINT"
    if nearby:
        order = f"((hash(shard || '-{seed}') >> 41)::BIGINT << 39) + {order}"
    rows = db.execute(
        f"SELECT coalesce(reason, verdict) AS name, min({order}, {PER_REASON}), "
        f"arg_min({{shard: shard, row: row}}, {order}, {PER_REASON}) "
        f"FROM {table} WHERE verdict <> 'unfinished' AND name NOT IN ({hidden}) "
        f"AND NOT coalesce(list_has_any(reasons, [{hidden}]), false) GROUP BY 1"
    ).fetchall()
    return {
        name: [
            (key, (place["shard"], place["row"])) for key, place in zip(keys, places, strict=True)
        ]
        for name, keys, places in rows
    }


def add_candidates(found: Candidates, more: Candidates) -> None:
    """Add those of another chunk, of which only the first `PER_REASON` stay."""
    for name, rows in more.items():
        found[name] = sorted([*found.get(name, ()), *rows])[:PER_REASON]


NO_GROUPS: Mapping[str, Any] = {"groups": {}, "sizes": {}, "kinds": {}}


def choose_groups(db: duckdb.DuckDBPyConnection, seed: int) -> Mapping[str, Any]:
    """The largest duplicate groups, up to `GROUPS_PER_KIND` per kind of likeness, and how many
    there are.

    Keys: `groups` {group: [(shard, row), …], the kept member
    first}, `sizes` {members: groups} and `kinds` {kind: rows}.
    """
    grouped = "FROM samples WHERE dup_group IS NOT NULL"
    sizes = db.execute(
        f"SELECT n, count(*) FROM (SELECT count(*) AS n {grouped} GROUP BY dup_group) "
        "GROUP BY 1 ORDER BY 1"
    ).fetchall()
    kinds = db.execute(
        f"SELECT dup_kind, count(*), arg_min(dup_group, md5(dup_group || '-{seed}'), 40) "
        f"{grouped} AND verdict <> 'kept' GROUP BY 1 ORDER BY 1"
    ).fetchall()
    names = [
        name
        for (name,) in db.execute(
            f"SELECT dup_group {grouped} GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT {LARGEST}"
        ).fetchall()
    ]
    for _, _, candidates in kinds:
        fresh = [name for name in dict.fromkeys(candidates) if name not in names]
        names += fresh[:GROUPS_PER_KIND]
    found: dict[str, list[tuple[int, int]]] = {name: [] for name in names}
    members = db.execute(
        "SELECT dup_group, shard, row FROM samples WHERE list_contains(?, dup_group) "
        "QUALIFY row_number() OVER (PARTITION BY dup_group "
        f"ORDER BY verdict <> 'kept', dup_sim DESC, uid) <= {MEMBERS} "
        "ORDER BY dup_group, verdict <> 'kept', dup_sim DESC, uid",
        [names],
    ).fetchall()
    for name, shard, row in members:
        found[name].append((shard, row))
    return {
        "groups": found,
        "sizes": dict(sizes),
        "kinds": {str(kind): rows for kind, rows, _ in kinds},
    }


def cards(
    run: Run, parts: Sequence[Parts], rules: Sequence[ShownRule],
    places: Collection[tuple[int, int]],
) -> dict[tuple[int, int], dict[str, Any]]:  # fmt: skip
    """What the page shows of each row: text fit to be read, the deciding numbers, a thumbnail."""
    if not places:
        return {}
    wanted = sorted(set(places))
    with connect(run, {shard for shard, _ in wanted}, parts, own=True) as db:
        table = db.sql(
            "SELECT * FROM samples WHERE list_contains(?, shard * 1000000000::BIGINT + row)",
            params=[[shard * 1_000_000_000 + row for shard, row in wanted]],
        ).to_arrow_table()
    download = next((part for part in parts if part.name == "download"), None)
    pictures = thumbnails(run, download, wanted)
    columns = {rule.reason: rule.columns for rule in rules}
    found = {}
    for sample in table.to_pylist():
        place = (sample["shard"], sample["row"])
        found[place] = _card(sample, columns) | {"picture": pictures.get(place)}
    return found


def _card(sample: Mapping[str, Any], columns: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    reason = sample["reason"]
    veiled = bool(VEILED & {reason, *(sample["reasons"] or [])})
    veiled |= (sample.get("punsafe") or 0.0) >= UNSAFE
    numbers = [(name, number(sample.get(name))) for name in columns.get(reason, ())]
    numbers = [(name, value) for name, value in numbers if name not in ("caption", "url")]
    if reason == "duplicate":
        numbers = [("likeness", number(sample.get("dup_sim"))), ("by", str(sample.get("dup_kind")))]
    width, height = sample.get("original_width"), sample.get("original_height")
    message = sample.get("error_message") if reason in FETCH else None
    return {
        "uid": sample["uid"],
        "reason": reason,
        "verdict": sample["verdict"],
        "also": [r for r in sample["reasons"] or [] if r != reason],
        "caption": shown_caption(sample, 180),
        "host": host_of(str(sample["url"])) if (sample["url"] or "").strip() else "no URL",
        "url": shown_url(sample),
        "numbers": numbers,
        "message": plain(message, 120) if message else None,
        "size": f"{width}×{height}" if width and height else None,
        "kind": sample.get("dup_kind"),
        "likeness": number(sample["dup_sim"]) if sample.get("dup_sim") is not None else None,
        "veiled": veiled,
    }
