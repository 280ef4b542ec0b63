"""Every command, key, column and reason is documented, and the generated pages are current."""

import re
from pathlib import Path

import pytest
import typer

from pipeline.cli import app
from pipeline.config.job import Job
from pipeline.reasons import VOCABULARY
from pipeline.reference import PAGES, models_in

DOCS = Path(__file__).parents[1] / "docs"


@pytest.mark.parametrize("name", PAGES)
def test_generated_pages_are_current(name):
    assert (DOCS / name).read_text() == PAGES[name](), f"docs/{name} is stale: run `make docs`"


def test_every_command_and_option_is_documented_with_a_help_text():
    page = (DOCS / "cli.md").read_text()
    for name, command in typer.main.get_command(app).commands.items():
        assert f"## `winnow {name}`" in page
        assert command.help, name
        for parameter in command.params:
            assert parameter.help, f"winnow {name} {parameter.name} has no help"


def test_every_key_is_documented_with_a_description():
    page = (DOCS / "config.md").read_text()
    models, seen = [Job], set()
    while models:
        model = models.pop()
        seen.add(model)
        for name, field in model.model_fields.items():
            assert f"| `{name}` |" in page, f"{model.__name__}.{name}"
            assert field.description, f"{model.__name__}.{name} has no description"
            models += [m for m in models_in(field.annotation) if m not in seen]


def test_every_reason_is_documented():
    page = (DOCS / "reasons.md").read_text()
    assert [r for r in VOCABULARY if f"| `{r}` |" not in page] == []


def test_links_between_pages_lead_somewhere():
    pages = [*DOCS.rglob("*.md"), DOCS.parent / "README.md", DOCS.parent / "CHANGELOG.md"]
    for page in pages:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"
