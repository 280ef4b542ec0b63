"""Why one sample was kept or not: every measurement, and every rule with its result."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import duckdb
import pyarrow as pa

from pipeline.engine.parts import Parts, schema_of, stage_parts
from pipeline.inspect.plain import PERSONAL, is_hidden, number, plain, shown_caption, shown_url
from pipeline.inspect.rules import ShownRule, rules_of
from pipeline.inspect.view import OWN_COLUMNS, connect
from pipeline.table.columns import LATE, SHARD_COLUMNS, shown
from pipeline.table.part import shard_name
from pipeline.table.run import Run
from pipeline.table.sql import evaluate
from pipeline.table.tombstones import Tombstones
from pipeline.words.errors import InputError
from pipeline.words.reasons import FETCH, MEASURE, VOCABULARY, kind_of

MEMBERS = 20
"""Members of a duplicate group that are listed; the others are counted."""
_PREFIX = re.compile(r"[0-9a-fA-F]{4,32}")
_NEAR = 0.85
"""Least Jaro-Winkler similarity of a key to a uid or URL that is worth suggesting."""


def explain(run: Run, key: str) -> dict[str, Any]:
    """Everything that is known of one row; `key` is a uid, 4 or more of its first digits, or a URL.

    Keys: `uid`, `url`, `caption` (masked as `pipeline.inspect.plain` says), `shard`, `row`,
    `repeats`, `verdict` (kept, dropped, failed, unfinished), `reason`, `reasons`, `summary` (one
    line), `meaning` (of the reason), `measurements` {stage: {column: value}}, `passthrough`,
    `rules` [{reason, when, if_null, values, result (true, false or null), takes, first}], `fetch`
    {status, reason, message} or null, `duplicates` {group, size, kept, members} or null,
    `forgotten` [{date, kind}] (takedowns that took the row, by which kind of scope) and `missing`
    (stages that have not finished this shard). For a row that may not be shown, the values are left
    out.

    Raises InputError if no row matches (with the nearest) or several do (with their uids).
    """
    parts = stage_parts(run)
    with connect(run, parts=parts) as db:
        shard, place = _find(db, key)
        with connect(run, [shard], parts) as one:
            query = "SELECT * FROM samples WHERE row = ?"
            table = one.sql(query, params=[place]).to_arrow_table()
        sample: dict[str, Any] = table.to_pylist()[0]
    duplicates = _duplicates(run, parts, sample)
    rules = _rules(rules_of(run, table.column_names), table, sample)
    measurements = _measurements(run, parts, sample, shard)
    passthrough = _passthrough(sample, parts, run, shard)
    if is_hidden(sample):
        rules = [{**rule, "values": {}} for rule in rules]
        measurements, passthrough = {}, {}
    takedowns = Tombstones.read(run.folder).took(sample["uid"])
    died = {
        part.name: part.sidecars[shard].killed[str(place)]
        for part in parts
        if shard in part.sidecars and str(place) in part.sidecars[shard].killed
    }
    missing = [part.name for part in parts if shard not in part.sidecars]
    reason = sample["reason"]
    return {
        "uid": sample["uid"],
        "url": None if sample["url"] is None else shown_url(sample, 2_000),
        "caption": None if sample["caption"] is None else shown_caption(sample, 2_000),
        "shard": shard,
        "row": sample["row"],
        "repeats": sample["repeats"],
        "verdict": sample["verdict"],
        "reason": reason,
        "reasons": sample["reasons"] or [],
        "summary": _summary(sample, rules, duplicates, missing, takedowns, died),
        "meaning": VOCABULARY[reason].text if reason in VOCABULARY else None,
        "measurements": measurements,
        "passthrough": passthrough,
        "rules": rules,
        "fetch": _fetch(sample),
        "duplicates": duplicates,
        "forgotten": takedowns,
        "missing": missing,
    }


def _find(db: duckdb.DuckDBPyConnection, key: str) -> tuple[int, int]:
    key = key.strip()
    where, value = "url = ?", key
    if _PREFIX.fullmatch(key):
        where, value = "starts_with(uid, ?)", key.lower()
        if len(key) == 32:
            where = "uid = ?"  # zone maps skip every other shard
    found = db.execute(
        f"SELECT shard, row, uid FROM listed WHERE {where} ORDER BY shard, row LIMIT 6", [value]
    ).fetchall()
    if len(found) == 1:
        return int(found[0][0]), int(found[0][1])
    if found:
        uids = ", ".join(row[2] for row in found[:5]) + (" …" if len(found) > 5 else "")
        raise InputError(f"explain: several rows match {plain(key)}; name one by its uid: {uids}")
    column = "uid" if re.fullmatch(r"\w{0,32}", key) else "url"
    near, score = db.execute(
        f"SELECT max_by({column}, s), max(s) FROM "
        f"(SELECT {column}, jaro_winkler_similarity({column}, ?) AS s FROM listed)", [value]
    ).fetchone() or (None, None)  # fmt: skip
    hint = f"; the nearest is {plain(near)}" if near and score >= _NEAR else ""
    raise InputError(
        f"explain: no row has the uid, uid prefix (4 digits or more) or URL {plain(key)}{hint}"
    )


def _rules(
    rules: Sequence[ShownRule], table: pa.Table, sample: Mapping[str, Any]
) -> list[dict[str, Any]]:
    shown = []
    open_ = True
    for rule in rules:
        try:
            answer = int(evaluate(table, [rule.when])[0][0])
            result = {1: True, 0: False, -1: None}[answer]
        except duckdb.Error:
            # The rule names a column of a stage that no shard has finished.
            result = None
        # The stored verdict decides: `decide` keeps the best duplicate, and skips null rules for
        # failed rows.
        answer_drops = result is True or (result is None and rule.if_null == "drop")
        takes = answer_drops and rule.reason in (sample["reasons"] or [])
        first = bool(open_ and takes and sample["reason"] == rule.reason)
        open_ = open_ and not first
        shown.append(
            {
                "reason": rule.reason,
                "when": rule.when,
                "if_null": rule.if_null,
                "values": {name: _value(sample[name]) for name in rule.columns},
                "result": result,
                "takes": takes,
                "first": first,
                "thresholds": [str(threshold) for threshold in rule.thresholds],
            }
        )
    return shown


def _value(value: Any) -> Any:
    """A cell as a JSON value."""
    if isinstance(value, bytes):
        return value.hex() if len(value) <= 64 else f"{len(value)} bytes"
    return value


def _measurements(
    run: Run, parts: Sequence[Parts], sample: Mapping[str, Any], shard: int
) -> dict[str, dict[str, Any]]:
    return {
        part.name: {name: _value(sample[name]) for name in _columns(run, part, shard)}
        for part in parts
        if shard in part.sidecars and part.name != "decide" and _columns(run, part, shard)
    }


def _columns(run: Run, part: Parts, shard: int) -> list[str]:
    if (
        shard not in part.sidecars
        or f"{shard_name(shard)}.parquet" not in part.sidecars[shard].files
    ):
        return []
    names = schema_of(run, f"{part.folder}/{shard_name(shard)}.parquet").names
    return shown(names)


def _passthrough(
    sample: Mapping[str, Any], parts: Sequence[Parts], run: Run, shard: int
) -> dict[str, Any]:
    known = {column.name for column in SHARD_COLUMNS} | set(OWN_COLUMNS)
    known |= {"reason", "reasons", "dup_of", "audit", *(column.name for column in LATE)}
    for part in parts:
        known |= set(_columns(run, part, shard))
    return {name: _value(value) for name, value in sample.items() if name not in known}


def _fetch(sample: Mapping[str, Any]) -> dict[str, Any] | None:
    if sample.get("status") is None:
        return None
    return {
        "status": sample["status"],
        "reason": sample.get("fetch_reason"),
        "message": _message(sample),
    }


def _message(sample: Mapping[str, Any]) -> str | None:
    shown = sample.get("error_message") and not is_hidden(sample)
    return plain(sample["error_message"]) if shown else None


def _duplicates(
    run: Run, parts: Sequence[Parts], sample: Mapping[str, Any]
) -> dict[str, Any] | None:
    group = sample.get("dup_group")
    if group is None:
        return None
    # Of all shards only the groups are read, which matters on an object store.
    groups = [part for part in parts if part.name == "dedup"]
    with connect(run, parts=groups) as db:
        found = "SELECT DISTINCT shard FROM samples WHERE dup_group = ?"
        shards = [int(row[0]) for row in db.execute(found, [group]).fetchall()]
    with connect(run, shards, parts) as db:
        return _members(db, group, sample)


def _members(
    db: duckdb.DuckDBPyConnection, group: str, sample: Mapping[str, Any]
) -> dict[str, Any]:
    here = {str(row[0]) for row in db.execute("DESCRIBE samples").fetchall()}
    more = ("caption", "url", "vocabulary_hits", *PERSONAL, "dup_sim", "dup_kind",
            "original_width", "original_height", "clip_score")  # fmt: skip
    names = ["uid", "verdict", "reason", "dup_of", *(name for name in more if name in here)]
    members = db.sql(
        f"SELECT {', '.join(names)}, count(*) OVER () AS size FROM samples WHERE dup_group = ? "
        "ORDER BY verdict <> 'kept', uid <> ?, uid LIMIT ?",
        params=[group, sample["uid"], MEMBERS],
    ).to_arrow_table().to_pylist()  # fmt: skip
    size = int(members[0]["size"])
    kept = next((member["uid"] for member in members if member["verdict"] == "kept"), None)
    hidden = ("size", "vocabulary_hits", *PERSONAL)
    for member in members:
        member["caption"], member["url"] = shown_caption(member), shown_url(member)
    listed = [{k: v for k, v in member.items() if k not in hidden} for member in members]
    return {"group": group, "size": size, "kept": kept, "members": listed}


def _summary(
    sample: Mapping[str, Any], rules: Sequence[Mapping[str, Any]],
    duplicates: Mapping[str, Any] | None, missing: Sequence[str],
    takedowns: Sequence[Mapping[str, str]], died: Mapping[str, str],
) -> str:  # fmt: skip
    verdict, reason = sample["verdict"], sample["reason"]
    if verdict == "unfinished":
        return f"unfinished: {', '.join(missing)} did not finish shard {sample['shard']}"
    if verdict == "kept":
        return "kept: no rule takes it"
    if reason == "forgotten" and takedowns:
        dates = ", ".join(f"{t['date'][:10]} by its {t['kind']}" for t in takedowns)
        return f"{kind_of(reason)}: {reason} — taken down on {dates}"
    because = _because(sample, reason, rules, duplicates)
    if reason in MEASURE and died:
        because = "; ".join(f"{stage}: the process died of {what}" for stage, what in died.items())
    return f"{kind_of(reason)}: {reason}" + (f" — {because}" if because else "")


def _because(
    sample: Mapping[str, Any], reason: str, rules: Sequence[Mapping[str, Any]],
    duplicates: Mapping[str, Any] | None,
) -> str:  # fmt: skip
    if reason == "duplicate" and duplicates is not None:
        kept = sample.get("dup_of") or duplicates["kept"]
        near = number(sample.get("dup_sim"))
        return f"{kept or 'another member'} of its group is kept ({sample.get('dup_kind')}, {near})"
    if reason in ("in_eval_set", "in_earlier_set") and sample.get("against_id") is not None:
        near = number(sample["against_sim"])
        shown = f"{plain(sample['against_id'])} of {plain(sample['against_set'])}"
        return f"it is like {shown} ({sample['against_kind']}, {near})"
    if reason in FETCH and (message := _message(sample)):
        return message
    rule = next((rule for rule in rules if rule["first"]), None)
    if rule is None:
        return VOCABULARY[reason].text if reason in VOCABULARY else ""
    if rule["result"] is None:
        return f"unknown, and `if_null: drop` ({rule['when']})"
    values = ", ".join(f"{name} {number(value)}" for name, value in rule["values"].items())
    if len(rule["thresholds"]) == 1 and len(rule["values"]) == 1:
        return f"{values} {rule['thresholds'][0].split(' ', 1)[1]}"
    return f"{values} ({rule['when']})"
