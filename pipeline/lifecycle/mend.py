"""`winnow verify`'s answer, and with `--mend` the damaged parts made again: those and no others."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from pipeline.engine.erase.parts import EXPORT
from pipeline.engine.plan import Plan
from pipeline.engine.plan_file import save_plan
from pipeline.engine.product import Product, Single
from pipeline.engine.provenance import note_provenance
from pipeline.engine.runner import (
    Result,
    bring_up_to_date,
    prepare,
    products_of,
    recorded_job,
    replan,
    tidy,
)
from pipeline.engine.salvage import salvage
from pipeline.engine.singles import registered
from pipeline.export.finish import MANIFEST, OTHERS
from pipeline.lifecycle.damaged import NO_RECORD, Damage
from pipeline.lifecycle.exports import heal_record
from pipeline.lifecycle.loose import heal_loose, unchecked
from pipeline.lifecycle.verify import INDEX, find_all_damage, unfinished_exports
from pipeline.table.run import Run
from pipeline.table.tombstones import NAME as TOMBSTONES
from pipeline.words.errors import InputError
from pipeline.words.progress import Reporter
from pipeline.words.sizes import size

SHOWN = 20
KEPT = ("resolved.json", TOMBSTONES)
"""Files that nothing in the run folder can replace."""


def verify(
    run: Run, reporter: Reporter, *, export_only: bool = False, mend: bool = False
) -> tuple[Result | None, dict[str, Any]]:
    """Compare the run's files with their checksums; with `mend`, make the damaged ones again.

    The second value holds `checked` {files, bytes}, `damaged` [{file, what, product, key, rows,
    record, uids}], `not_checked` (files without a checksum), `unfinished` (exports), `mended`
    (whether nothing is damaged or lost), `left` (what is still damaged then, of the same form),
    `lost` (what was removed and not made again, likewise) and `said` (lines about files that were
    written again in part, or done without). The first is None without mending.

    InputError or DamagedError, before anything is changed, if what is damaged cannot be made from
    what is left.
    """
    reporter.say("verify: comparing files with their checksums")
    damaged, checked = find_all_damage(run, reporter, export_only=export_only)
    answer: dict[str, Any] = {
        "checked": checked,
        "damaged": [asdict(one) for one in damaged],
        "not_checked": unchecked(run),
        "unfinished": unfinished_exports(run),
        "mended": False,
        "left": [asdict(one) for one in damaged],
        "lost": [],
        "said": [],
    }
    if not mend or not damaged:
        return None, answer
    if any(one.file == TOMBSTONES for one in damaged):
        raise InputError(
            f"{run.folder.path(TOMBSTONES)} was cut or changed from outside, and nothing else "
            "says which rows were taken down; repair it or restore a copy"
        )
    plan, products = _plan(run, any(one.product == "ingest" for one in damaged))
    with run.locked(reporter.say):
        tidy(run, reporter)
        said, rest = _heal(run, damaged)
        _take_out(run, _without_salvaged(plan, rest))
        save_plan(plan)
        note_provenance(plan, [])
        result = bring_up_to_date(plan, products, reporter, asked=_dear(products, rest))
    left, _ = find_all_damage(run, reporter, export_only=export_only)
    lost = [one for one in rest if one.what != NO_RECORD and not run.folder.exists(one.file)]
    answer["said"] = said
    answer["left"] = [asdict(one) for one in left]
    answer["lost"] = [asdict(one) for one in lost if one.file not in {each.file for each in left}]
    answer["mended"] = not (left or answer["lost"])
    answer["unfinished"] = unfinished_exports(run)
    return result, answer


def _heal(run: Run, damaged: Sequence[Damage]) -> tuple[list[str], list[Damage]]:
    """Do without damaged files, where a product can: lines that say what is lost, and the rest."""
    kinds = registered()
    said: list[str] = []
    rest: list[Damage] = []
    for one in damaged:
        kind = kinds.get(one.product or "")
        if kind is not None:
            line = kind.heal(run, one.file)
        else:
            line = heal_loose(run, one.file) or heal_record(run, one)
        rest.extend([one] if line is None else ())
        said.extend([] if line is None else [line])
    return said, rest


def _dear(products: Sequence[Product], damaged: Sequence[Damage]) -> set[str]:
    """The model and the pictures, from the first that was damaged on: they take hours."""
    names = {one.product for one in damaged}
    dear = [one for one in products if isinstance(one, Single) and not one.follows]
    first = min((one.rank for one in dear if one.name in names), default=None)
    return {one.name for one in dear if first is not None and one.rank >= first}


def _plan(run: Run, read_list: bool) -> tuple[Plan, Sequence[Product]]:
    """The run's plan; with the list if shards have to be made again from it."""
    if not read_list:
        plan = replan(run)
        return plan, products_of(plan)
    prepared = prepare(recorded_job(run))
    return prepared.plan, prepared.products


def _without_salvaged(plan: Plan, damaged: Sequence[Damage]) -> list[Damage]:
    """The damage but that of download parts of which what is whole stays, and with it the record.
    A part is looked at once, however many of its files are damaged."""
    salvaged: dict[tuple[str, int], bool] = {}
    left = []
    for one in damaged:
        node = plan.by_name.get(one.product or "")
        if node is not None and one.key is not None and one.file.startswith(f"{node.folder}/"):
            key = (node.name, one.key)
            if key not in salvaged:
                salvaged[key] = salvage(plan, node, one.key) is not None
            if salvaged[key]:
                continue
        left.append(one)
    return left


def _take_out(run: Run, damaged: Sequence[Damage]) -> None:
    """Remove damaged files and their records, records first: what has none is made again."""
    for one in damaged:
        if one.file in KEPT:
            continue
        if one.product == "export":
            name = one.file.split("/")[1].removeprefix(EXPORT)
            run.folder.remove(f"export/{name}/{MANIFEST}", f"parts/{EXPORT}{name}/{OTHERS}.json")
        if one.record is not None and one.record != one.file:
            run.folder.remove(one.record)
        if one.file != INDEX:  # with a damaged index the shards tell what it held
            run.folder.remove(one.file)


def lines(answer: dict[str, Any]) -> Sequence[str]:
    """The answer in words."""
    checked, damaged = answer["checked"], answer["damaged"]
    compared = f"{checked['files']:,} files ({size(checked['bytes'])}) compared"
    unfinished = [
        f"export/{name} is not finished: it has no manifest.json, and is no dataset; a run with "
        "the settings that it was made with finishes it, or remove it"
        for name in answer["unfinished"]
    ]
    if not damaged:
        rest = ", ".join(answer["not_checked"])
        left = f"; not checked, as an earlier version wrote no checksum: {rest}" if rest else ""
        return [f"{compared}: none is damaged{left}", *unfinished]
    found = [f"{compared}: {len(damaged):,} damaged", *_listed(damaged), *answer["said"]]
    if answer["mended"]:
        found.append("nothing is damaged any more")
    elif answer["left"] == damaged:
        found.append("`--mend` makes exactly these parts again")
    if answer["lost"]:
        found.append(
            f"{len(answer['lost']):,} were removed and are lost: they are of settings that are not "
            "the job's any more; a run with those settings makes them again"
        )
        found += _listed(answer["lost"])
    if answer["left"] and answer["left"] != damaged:
        found.append(f"{len(answer['left']):,} could not be made again:")
        found += _listed(answer["left"])
    return [*found, *unfinished]


def _listed(damaged: Sequence[dict[str, Any]]) -> list[str]:
    found = [_line(one) for one in damaged[:SHOWN]]
    if len(damaged) > SHOWN:
        found.append(f"… and {len(damaged) - SHOWN:,} more (--json lists all)")
    return found


def _line(one: dict[str, Any]) -> str:
    rows = f", {one['rows']:,} rows" if one["rows"] is not None else ""
    if one["uids"] is not None:
        shown = ", ".join(one["uids"][:3]) + (", …" if len(one["uids"]) > 3 else "")
        rows += f", pictures lost: {len(one['uids']):,}: {shown}"
    shard = f", shard {one['key']:05d}" if one["key"] is not None else ""
    place = f" ({one['product']}{shard}{rows})" if one["product"] else ""
    return f"  {one['file']}: {one['what']}{place}"
