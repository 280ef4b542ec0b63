"""Takedowns: find the named rows, erase them, and bring the export up to date."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pipeline.engine.erase.find import Found, find
from pipeline.engine.erase.finish import erase
from pipeline.engine.erase.journal import Journal
from pipeline.engine.parts import stage_parts
from pipeline.engine.runner import Result, bring_up_to_date, products_of, replan, tidy
from pipeline.inspect.plain import rows
from pipeline.inspect.related import related
from pipeline.table.run import Run
from pipeline.table.tombstones import KINDS, NAME, Scope, Tombstones
from pipeline.words.domains import host_of
from pipeline.words.errors import InputError
from pipeline.words.progress import Reporter

Named = tuple[str, str, str]
"""A kind of scope, a value as the user wrote it, and the option or line where it was given."""


def read_list(path: Path) -> list[Named]:
    """Lines `kind:value`; blank lines and comments (`#`) are ignored.

    InputError for a file that cannot be read and for any other line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--file {path} cannot be read: {error}") from error
    named = []
    for i, line in enumerate(lines):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        kind, sign, value = text.partition(":")
        place = f"{path}, line {i + 1}"
        if not sign or kind.strip() not in KINDS:
            raise InputError(f"{place}: expected `uid:…`, `url:…`, `domain:…` or `sha256:…`")
        named.append((kind.strip(), value.strip(), place))
    return named


def forget(
    run: Run, named: Iterable[Named], dry_run: bool, reporter: Reporter
) -> tuple[Result | None, dict[str, Any]]:
    """Remove the named rows from the run folder for good.

    The second value holds `scopes` [{kind, value (of a URL: its sha256), rows}], `rows` (how many
    in all), `before` (how many of them were taken down already), `rewritten` {shards, parts,
    exports (their names)} (in a dry run: what would be rewritten), `related` (how many other rows
    share a picture or a group with them), `tombstones` (the file), `dry_run` and `notes`. The first
    is None if the export was not brought up to date; then a note says why.

    InputError, before any work, for an invalid value, and if nothing is named.
    """
    named = list(named)
    scopes = list({s.key: s for s in (Scope.parse(*one) for one in named)}.values())
    if not scopes:
        raise InputError(
            "forget: name at least one row, by --uid, --url, --domain, --sha256, --file"
        )
    hosts = [host_of(text) for kind, text, _ in named if kind == "url"]
    with run.locked(reporter.say):
        with run.folder.hold():
            if not dry_run:
                tidy(run, reporter)
            reporter.say("forget: looking for the rows")
            found = find(run, scopes, hosts)
            tombstones = Tombstones.read(run.folder)
            taken = found.uids | {scope.value for scope in scopes if scope.kind == "uid"}
            fresh = sorted(taken - tombstones.erased)
            journal = Journal.of(run, fresh)
            answer = _answer(run, found, journal, tombstones.erased)
            if dry_run:
                return None, answer | {"dry_run": True}
            known = {scope.key for stone in tombstones.stones for scope in stone.scopes}
            if fresh or not found.by_scope.keys() <= known:
                # Written first, so that the next run finishes the takedown if this one is killed.
                tombstones.with_(found.scopes()).write(run.folder)
                erase(run, journal)
                reporter.say(f"forget: {rows(len(fresh))} erased")
        result = None
        if journal.takes_something or not run.state.get("finished"):
            result = _follow(run, reporter, answer["notes"])
    return result, answer


def _follow(run: Run, reporter: Reporter, notes: list[str]) -> Result | None:
    """Make verdicts and export again from the parts: nothing is fetched and no model runs."""
    job = run.job.get("job_file") or "JOB.yaml"
    try:
        plan = replan(run)
        index = run.index
        assert index is not None
        done = {(part.name, part.fingerprint): len(part.sidecars) for part in stage_parts(run)}
        single = [node for node in plan.nodes if not node.stage.whole]
        if any(done.get((node.name, node.fingerprint), 0) < len(index) for node in single):
            notes.append(f"the run was not finished before; `winnow run {job}` goes on from here")
            return None
        return bring_up_to_date(plan, products_of(plan), reporter, asked=False)
    except InputError as error:
        notes.append(
            f"the rows are erased, but the export is not up to date: {error}; "
            f"after that, `winnow run {job}`"
        )
        return None


def _answer(run: Run, found: Found, journal: Journal, erased: frozenset[str]) -> dict[str, Any]:
    return {
        "scopes": [
            {"kind": kind, "value": value, "rows": len(uids)}
            for (kind, value), uids in found.by_scope.items()
        ],
        "rows": len(found.uids),
        "before": len(found.uids & erased),
        "rewritten": journal.touches,
        "related": related(run, found.uids),
        "tombstones": run.folder.path(NAME),
        "dry_run": False,
        "notes": journal.notes,
    }


def lines(answer: dict[str, Any]) -> Sequence[str]:
    """The answer in words."""
    would = "would be " if answer["dry_run"] else ""
    sentences = [f"{s['kind']} {s['value']}: {rows(s['rows'])}" for s in answer["scopes"]]
    before = f", {answer['before']:,} of them already before" if answer["before"] else ""
    sentences.append(f"{rows(answer['rows'])} {would}forgotten{before}")
    held = answer["rewritten"]
    places = f"shards: {held['shards']:,}, parts: {held['parts']:,}"
    sentences.append(f"{would}rewritten: {places}, exports: {len(held['exports']):,}".strip())
    if answer["related"]:
        sentences.append(
            f"in addition there are {rows(answer['related'])} with the same picture or one like "
            "it; --sha256 takes down all rows with the same bytes"
        )
    return [*sentences, f"tombstones: {answer['tombstones']}"]
