"""Every command, key, column and reason is documented, and the generated pages are current."""

import re
from pathlib import Path

import pytest
import typer

from pipeline.config.job import Job
from pipeline.ingest.listing import EXTENSIONS
from pipeline.ingest.names import FALLBACKS, URL_NAMES
from pipeline.ingest.source import COMPRESSIONS
from pipeline.shell.cli import app
from pipeline.shell.reference import PAGES, models_in
from pipeline.words.reasons import VOCABULARY

DOCS = Path(__file__).parents[1] / "docs"


@pytest.mark.parametrize("name", PAGES)
def test_generated_pages_are_current(name):
    assert (DOCS / name).read_text() == PAGES[name](), f"docs/{name} is stale: run `make docs`"


def test_every_command_and_option_is_documented_with_a_help_text():
    page = (DOCS / "cli.md").read_text()
    commands = typer.main.get_command(app).commands
    assert len(commands) == len(re.findall("^## `winnow", page, re.MULTILINE)) > 1
    for name, command in commands.items():
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
    assert {"DownloadConfig", "Rule", "Head", "TrainConfig"} <= {model.__name__ for model in seen}


def test_every_reason_is_documented():
    page = (DOCS / "reasons.md").read_text()
    assert [r for r in VOCABULARY if f"| `{r}` |" not in page] == []


def test_every_kind_of_list_that_is_read_is_documented():
    page = (DOCS / "formats.md").read_text()
    known = [*EXTENSIONS, *COMPRESSIONS, *(name for several in FALLBACKS for name in several)]
    known += [name for name in URL_NAMES if name not in ("flickr_url", "image_path", "path")]
    missing = [name for name in (*known, "cell_invalid") if f"`{name}`" not in page]
    assert missing == []


def test_links_between_pages_point_to_existing_files():
    pages = [*DOCS.rglob("*.md"), DOCS.parent / "README.md", DOCS.parent / "CHANGELOG.md"]
    links = [(p, to) for p in pages for to in re.findall(r"\]\(([^)#]+)\)", p.read_text())]
    inner = [(page, target) for page, target in links if not target.startswith("http")]
    assert (DOCS.parent / "README.md", "docs/tutorial.md") in inner
    broken = [f"{page.name}: {to}" for page, to in inner if not (page.parent / to).exists()]
    assert broken == []


def test_the_page_about_clusters_is_linked_and_its_keys_exist():
    """tests/run/test_cluster_page.py runs its commands."""
    page = (DOCS / "cluster.md").read_text()
    for other in (DOCS.parent / "README.md", DOCS / "architecture.md"):
        assert "cluster.md)" in other.read_text(), other.name
    config = (DOCS / "config.md").read_text()
    named = set(re.findall(r"`(?:cluster|download)\.(\w+)", page))
    assert len(named) > 2
    assert [key for key in named if f"| `{key}` |" not in config] == []
