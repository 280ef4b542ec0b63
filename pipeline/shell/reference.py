"""Generates the reference pages of docs/ from the models, the commands and the vocabulary.

`python -m pipeline.shell.reference docs` writes them; a test checks that they are up to date.
"""

import inspect
import sys
import types
import typing
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import typer
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from pipeline.config.base import ROLES, role_of
from pipeline.config.job import Job
from pipeline.config.sections import Head
from pipeline.export.registry import GROUP
from pipeline.export.registry import registered as layouts
from pipeline.judge.fetch_rules import fetch_rules
from pipeline.judge.stages import stages_for
from pipeline.measure.registry import default_rules, optional
from pipeline.measure.registry import registered as stages
from pipeline.models.heads.registry import GROUP as HEADS_GROUP
from pipeline.models.heads.registry import registered as head_kinds
from pipeline.table.columns import SHARD_COLUMNS, STORED_COLUMN, Column
from pipeline.words.oddities import WORDS as ODDITIES
from pipeline.words.reasons import FETCH, INGEST, MEASURE, RULES, TAKEDOWN

_MADE = "<!-- Made by `make docs` from the code; edit there. -->\n"


def config_page() -> str:
    """Every key of a job file, section by section."""
    parts = [
        f"# Job files\n\n{_MADE}\nOne YAML file is one job. Only `input` must be given. Unknown "
        "keys are errors. Any key can be overridden with `--set a.b=value`. A relative path is "
        "looked for beside the job file, then in the working folder, where `output` and the paths "
        "of `train` and `sample` always are; `~` is the home folder. What a change of a key "
        "makes stale is marked beside it; a key without a mark changes what its stage measures, "
        "and all of that stage is done again:\n",
        "\n".join(f"- *{role}*: {text}." for role, text in ROLES.items()) + "\n",
    ]
    parts += _section(Job, "")
    parts.append(
        "## Kinds of heads\n\nThe values of `images.heads[].kind`, each with its own keys. "
        f"Other packages can add more by entry points `{HEADS_GROUP}`.\n"
    )
    for name, kind in head_kinds().items():
        parts += _section(kind.Config, f"images.heads[kind: {name}]")
    rows = "\n".join(f"| `{name}` | {_cell(one.text)} |" for name, one in layouts().items())
    for name in optional():
        parts += _section(stages()[name].Config, f"measure.{name}")
    parts.append(
        "## Layouts\n\nThe values of `export.formats`. Other packages can add more by entry points "
        f"`{GROUP}`.\n\n| layout | files |\n| --- | --- |\n{rows}\n"
    )
    return "\n".join(parts)


def _section(model: type[BaseModel], place: str) -> list[str]:
    title = f"`{place}`" if place else "The job"
    intro = inspect.cleandoc(model.__doc__ or "")
    head = "| key | type | default | meaning |\n| --- | --- | --- | --- |"
    lines = [f"## {title}\n\n{intro}\n", head]
    below: list[str] = []
    for name, field in model.model_fields.items():
        inner = [m for m in models_in(field.annotation) if m is not model]
        role = role_of(field)
        text = f"{_cell(field.description or '')}" + (f" *{role}*" if role else "")
        default = "**required**" if field.is_required() else _default(field)
        lines.append(f"| `{name}` | {_cell(_type(field.annotation))} | {default} | {text} |")
        for one in inner:
            suffix = "[]" if "tuple" in str(field.annotation) else ""
            below += _section(one, f"{place}.{name}{suffix}".lstrip("."))
    return ["\n".join(lines) + "\n", *below]


def models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in models_in(part)]


def _type(annotation: Any) -> str:
    origin = get_origin(annotation)
    if origin is Literal:
        return " \\| ".join(f"`{value}`" for value in get_args(annotation))
    if origin in (types.UnionType, typing.Union):
        return " \\| ".join(_type(part) for part in get_args(annotation))
    if origin is tuple:
        return f"list of {_type(get_args(annotation)[0])}"
    if origin is dict:
        key, value = get_args(annotation)
        return f"mapping of {_type(key)} to {_type(value)}"
    if annotation is type(None):
        return "null"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "section"
    names = {"str": "text", "int": "integer", "float": "number", "bool": "true/false"}
    return names.get(annotation.__name__, annotation.__name__)


def _default(field: Any) -> str:
    value = field.default
    if value is PydanticUndefined or isinstance(value, BaseModel):
        return "see below"
    if value is None:
        return "null"
    if isinstance(value, tuple | list):
        return "`[" + ", ".join(str(one) for one in value) + "]`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value}`" if value != "" else "`''`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace(" | ", " \\| ")


def cli_page() -> str:
    """Every command with its arguments and options, from the command line itself."""
    from pipeline.shell.cli import app

    group = typer.main.get_command(app)
    lines = [f"# Commands\n\n{_MADE}", f"{group.help}\n", f"{group.epilog}\n"]
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        lines.append(f"## `winnow {name}`\n\n{inspect.cleandoc(command.help or '')}\n")
        rows = []
        for parameter in command.params:
            if parameter.param_type_name == "argument":
                shown = parameter.metavar or parameter.name.upper()
            else:
                shown = ", ".join(parameter.opts)
                if not parameter.is_flag:
                    shown += f" {parameter.metavar or 'VALUE'}"
            default = parameter.default
            plain = default not in (None, (), [], False) and not callable(default)
            note = f" Default: `{default}`." if plain else ""
            rows.append(f"| `{shown}` | {_cell(getattr(parameter, 'help', '') or '')}{note} |")
        lines.append("| argument or option | meaning |\n| --- | --- |\n" + "\n".join(rows) + "\n")
    return "\n".join(lines)


def columns_page() -> str:
    """Every column, by the stage that writes it."""
    job = Job(
        input="pairs.parquet",
        captions={"vocabulary": "words.txt"},
        embed={"model": "winnow-tiny"},
        images={"heads": (Head(name="my_head", kind="linear", weights="head.safetensors"),)},
        measure={name: {} for name in optional()},
        rules=(),
    )
    schema = {column.name: column.type for column in SHARD_COLUMNS}
    tables: list[tuple[str, tuple[Column, ...]]] = [("ingest", (*SHARD_COLUMNS, STORED_COLUMN))]
    tables += [(stage.name, stage.writes) for stage in stages_for(job, schema)]
    lines = [
        f"# Columns\n\n{_MADE}\nRules, `only_if` and `winnow sql` read these columns (the view "
        "`samples` also has `shard` and `row`). Input columns of other names pass through under "
        "their own; one that a stage writes itself passes through as `input_<name>`. A column is "
        "there only if its stage is part of the job. In text inputs every passthrough column is "
        "text, except these of public lists, which hold numbers: `similarity`, `punsafe`, "
        "`pwatermark`, `aesthetic`, `width`, `height`.\n",
    ]
    for stage, columns in tables:
        rows = "\n".join(f"| `{c.name}` | {c.type} | {_cell(c.text)} |" for c in columns)
        lines.append(f"## {stage}\n\n| column | type | meaning |\n| --- | --- | --- |\n{rows}\n")
    return "\n".join(lines)


def reasons_page() -> str:
    """The vocabulary, and the default rules."""
    lines = [
        f"# Reasons\n\n{_MADE}\nA row's `reason` is the first that applies, `reasons` holds all; "
        "null means kept. *failed*: caption or picture could not be read or fetched. *dropped*: "
        "they could, and a rule dropped the row. "
        "Rows in = kept + dropped by reason + failed by reason + repeats merged at ingest; "
        "`winnow stats` recomputes it from the files. Own words in rules start with `x_`.\n",
    ]
    sections = (
        ("Reading the list", INGEST), ("Fetching", FETCH), ("Measuring", MEASURE),
        ("Taken down", TAKEDOWN), ("Rules", RULES),
    )  # fmt: skip
    for title, words in sections:
        rows = "\n".join(f"| `{r.name}` | {r.kind} | {_cell(r.text)} |" for r in words.values())
        lines.append(f"## {title}\n\n| reason | kind | meaning |\n| --- | --- | --- |\n{rows}\n")
    warnings = "\n".join(f"| `{word}` | {_cell(text)} |" for word, text in ODDITIES.items())
    lines.append(
        "## Warnings of the decoder\n\nNo reasons: words of the column `decode_warnings`, of "
        "stored pictures. A rule may ask for them: `decode_warnings like '%data_cut%'`.\n\n"
        f"| word | meaning |\n| --- | --- |\n{warnings}\n"
    )
    everything = Job(
        input="pairs.parquet", captions={"vocabulary": "words.txt"}, embed={"model": "ViT-B-32"}
    )
    built_in = "\n".join(
        f"| `{rule.reason}` | `{rule.when}` |"
        for rule in fetch_rules(everything, {"sha256": "input_sha256", "md5": "input_md5"})
    )
    lines.append(
        "## Rules of the download section\n\nEvery job has these rules, before its own; here with "
        "the section's default values. They are applied to the stored facts. A row whose picture "
        "was not stored has the reason that the fetch gave.\n\n| reason | when |\n| --- | --- |\n"
        f"{built_in}\n"
    )
    rules = "\n".join(
        f"| `{rule.reason}` | `{rule.when}` | {rule.if_null} |"
        for rule in default_rules(everything)
    )
    lines.append(
        "## Default rules\n\nThe rules of a job without `rules:`, in this order, as far as the job "
        f"measures their columns.\n\n| reason | when | if unknown |\n| --- | --- | --- |\n{rules}\n"
    )
    return "\n".join(lines)


PAGES = {
    "config.md": config_page, "cli.md": cli_page, "columns.md": columns_page,
    "reasons.md": reasons_page,
}  # fmt: skip


def main(folder: Path) -> None:
    """Write the pages."""
    for name, page in PAGES.items():
        (folder / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
