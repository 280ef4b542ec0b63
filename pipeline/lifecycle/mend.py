"""`winnow verify`'s answer, and with `--mend` the damaged parts made again: those and no others."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

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
from pipeline.export.finish import MANIFEST
from pipeline.lifecycle.verify import INDEX, NOT_CHECKED, Damage, find_all_damage
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
    record, uids}], `not_checked` (files without a checksum), `mended` (whether all was made again)
    and `left` (what is still damaged then, of the same form). The first is None without mending.

    InputError or DamagedError, before anything is changed, if what is damaged cannot be made from
    what is left.
    """
    reporter.say("verify: comparing files with their checksums")
    damaged, checked = find_all_damage(run, reporter, export_only=export_only)
    answer: dict[str, Any] = {
        "checked": checked,
        "damaged": [asdict(one) for one in damaged],
        "not_checked": list(NOT_CHECKED),
        "mended": False,
        "left": [asdict(one) for one in damaged],
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
        _take_out(run, [one for one in damaged if not _is_salvaged(plan, one)])
        save_plan(plan)
        note_provenance(plan)
        # A model is made again only if it is the model that was damaged: that takes hours.
        names = {one.product for one in damaged}
        dear = {p.name for p in products if isinstance(p, Single) and not p.follows}
        result = bring_up_to_date(plan, products, reporter, asked=bool(names & dear))
    left, _ = find_all_damage(run, reporter, export_only=export_only)
    answer["left"] = [asdict(one) for one in left]
    answer["mended"] = not left
    return result, answer


def _plan(run: Run, read_list: bool) -> tuple[Plan, Sequence[Product]]:
    """The run's plan; with the list if shards have to be made again from it."""
    if not read_list:
        plan = replan(run)
        return plan, products_of(plan)
    prepared = prepare(recorded_job(run))
    return prepared.plan, prepared.products


def _is_salvaged(plan: Plan, one: Damage) -> bool:
    """Whether what is whole of a download part stays, and with it its record."""
    node = plan.by_name.get(one.product or "")
    if node is None or one.key is None or not one.file.startswith(f"{node.folder}/"):
        return False
    return salvage(plan, node, one.key) is not None


def _take_out(run: Run, damaged: Sequence[Damage]) -> None:
    """Remove damaged files and their records, records first: what has none is made again."""
    for one in damaged:
        if one.file in KEPT:
            continue
        if one.product == "export":
            name = one.file.split("/")[1].removeprefix("export-")
            run.folder.remove(f"export/{name}/{MANIFEST}")
        if one.record is not None and one.record != one.file:
            run.folder.remove(one.record)
        if one.file != INDEX:  # with a damaged index the shards tell what it held
            run.folder.remove(one.file)


def lines(answer: dict[str, Any]) -> Sequence[str]:
    """The answer in words."""
    checked, damaged = answer["checked"], answer["damaged"]
    compared = f"{checked['files']:,} files ({size(checked['bytes'])}) compared"
    if not damaged:
        return [f"{compared}: none is damaged; not checked: {', '.join(answer['not_checked'])}"]
    found = [f"{compared}: {len(damaged):,} damaged"]
    found += [_line(one) for one in damaged[:SHOWN]]
    if len(damaged) > SHOWN:
        found.append(f"… and {len(damaged) - SHOWN:,} more (--json lists all)")
    if answer["mended"]:
        found.append("all of them were made again")
    elif answer["left"] and answer["left"] != damaged:
        found.append(f"{len(answer['left']):,} could not be made again:")
        found += [_line(one) for one in answer["left"][:SHOWN]]
    else:
        found.append("`--mend` makes exactly these parts again")
    return found


def _line(one: dict[str, Any]) -> str:
    rows = f", {one['rows']:,} rows" if one["rows"] is not None else ""
    if one["uids"] is not None:
        shown = ", ".join(one["uids"][:3]) + (", …" if len(one["uids"]) > 3 else "")
        rows += f", pictures lost: {len(one['uids']):,}: {shown}"
    shard = f", shard {one['key']:05d}" if one["key"] is not None else ""
    place = f" ({one['product']}{shard}{rows})" if one["product"] else ""
    return f"  {one['file']}: {one['what']}{place}"
