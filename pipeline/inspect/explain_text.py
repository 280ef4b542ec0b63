"""`explain` for the terminal."""

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pipeline.inspect.plain import number, plain
from pipeline.inspect.stats import STYLES

_TOO_LONG = 60


def render(explained: Mapping[str, Any]) -> RenderableType:
    """The verdict first, then the rules with the values that they read, then everything else."""
    lines: list[RenderableType] = [_head(explained)]
    if explained["rules"] and explained["verdict"] != "unfinished":
        lines += [Text("\nRules, in order", style="bold"), _rules(explained["rules"])]
    if explained["duplicates"]:
        lines += _duplicates(explained["duplicates"], explained["uid"])
    lines += [Text("\nMeasurements", style="bold"), _measurements(explained)]
    return Group(*lines)


def _head(explained: Mapping[str, Any]) -> Text:
    text = Text(explained["summary"], style=f"bold {STYLES.get(explained['verdict'], '')}")
    if explained["meaning"] and explained["meaning"] not in explained["summary"]:
        text.append(f"\n{explained['meaning']}", style="not bold default")
    others = [reason for reason in explained["reasons"] if reason != explained["reason"]]
    if others:
        text.append(f"\nalso: {', '.join(others)}", style="not bold default")
    text.append(f"\n\n{explained['caption'] or '[no caption]'}", style="not bold italic default")
    text.append(f"\n{explained['url'] or '[no URL]'}", style="not bold dim default")
    place = f"\nuid {explained['uid']} · shard {explained['shard']}, row {explained['row']}"
    if explained["repeats"] and explained["repeats"] > 1:
        place += f" · {explained['repeats']} times in the input"
    return text.append(place, style="not bold dim default")


def _rules(rules: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("", "reason", "rule", "values"):
        table.add_column(name)
    for rule in rules:
        mark = "✗" if rule["takes"] else "?" if rule["result"] is None else "✓"
        style = "bold red" if rule["first"] else "yellow" if rule["takes"] else "dim"
        values = ", ".join(f"{name} = {_short(value)}" for name, value in rule["values"].items())
        if rule["result"] is None:
            values += " → unknown" + (f": {rule['if_null']}" if rule["takes"] else "")
        elif rule["result"] and not rule["takes"]:
            values += " → the best of its group, kept" if rule["reason"] == "duplicate" else ""
        if rule["first"]:
            values += "  ← this one"
        table.add_row(
            *(Text(cell, style=style) for cell in (mark, rule["reason"], rule["when"], values))
        )
    return table


def _short(value: Any) -> str:
    return plain(value, 24) if isinstance(value, str) else number(value)


def _duplicates(group: Mapping[str, Any], uid: str) -> list[RenderableType]:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("", "uid", "why", "likeness", "pixels", "verdict", "caption"):
        table.add_column(name, overflow="ellipsis", no_wrap=name in ("uid", "pixels"))
    for member in group["members"]:
        this = member["uid"] == uid
        pixels = f"{member.get('original_width') or '?'}×{member.get('original_height') or '?'}"
        verdict = member["reason"] or member["verdict"]
        cells = ("→" if this else "", member["uid"], str(member.get("dup_kind") or ""),
                 number(member.get("dup_sim")), pixels, verdict, member["caption"])  # fmt: skip
        style = STYLES["kept"] if member["verdict"] == "kept" else ""
        table.add_row(*(Text(cell, style=f"bold {style}" if this else style) for cell in cells))
    head = Text(f"\nDuplicate group of {group['size']:,}", style="bold")
    kept = f", kept: {group['kept']}" if group["kept"] else ", no member is kept"
    lines: list[RenderableType] = [head.append(kept, style="not bold"), table]
    if group["size"] > len(group["members"]):
        lines.append(Text(f"… and {group['size'] - len(group['members']):,} more", style="dim"))
    return lines


def _measurements(explained: Mapping[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="dim")
    table.add_column()
    table.add_column()
    sections = dict(explained["measurements"])
    if explained["passthrough"]:
        sections["input"] = explained["passthrough"]
    for stage, values in sections.items():
        for i, (name, value) in enumerate(values.items()):
            shown = number(value)
            shown = shown if len(shown) <= _TOO_LONG else plain(shown, _TOO_LONG)
            table.add_row(stage if i == 0 else "", Text(name), Text(shown))
    for stage in explained["missing"]:
        table.add_row(stage, Text("did not finish this shard", style="magenta"), "")
    return table
