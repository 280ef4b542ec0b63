"""Relative paths of a job: beside the job file, else in the working folder; `~` is the home."""

from pathlib import Path

import pytest
import yaml

from pipeline.config.load import load_job
from pipeline.ingest.listing import find_sources
from pipeline.words.errors import InputError


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The job file's folder and the working folder."""
    for name in ("jobs", "here", "home"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "jobs", tmp_path / "here"


def job(folder: Path, **values):
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump({"input": "list.csv", **values}))
    return load_job(path)


def test_a_file_beside_the_job_file_is_found_from_anywhere(places):
    jobs, _ = places
    (jobs / "list.csv").write_text("url,caption\n")
    (jobs / "words.txt").write_text("word\n")
    (jobs / "pictures").mkdir()
    found = job(jobs, captions={"vocabulary": "words.txt"}, download={"allow_paths": ["pictures"]})
    assert found.input == str(jobs / "list.csv")
    assert found.captions.vocabulary == str(jobs / "words.txt")
    assert found.download.allow_paths == (str(jobs / "pictures"),)


def test_a_file_in_the_working_folder_is_found_as_before(places):
    jobs, here = places
    (here / "list.csv").write_text("url,caption\n")
    assert job(jobs).input == str(here / "list.csv")
    assert job(jobs, input=["list.csv", "s3://b/x.csv"]).input == (
        str(here / "list.csv"), "s3://b/x.csv",
    )  # fmt: skip


def test_a_file_in_both_is_refused_with_both_places(places):
    jobs, here = places
    for folder in places:
        (folder / "list.csv").write_text("url,caption\n")
    with pytest.raises(InputError) as caught:
        job(jobs)
    assert str(jobs / "list.csv") in str(caught.value)
    assert str(here / "list.csv") in str(caught.value)
    (here / "list.csv").unlink()
    (here / "list.csv").symlink_to(jobs / "list.csv")
    assert job(jobs).input == str(jobs / "list.csv")


def test_a_pattern_and_the_home_folder(places):
    jobs, here = places
    (jobs / "a").mkdir()
    (jobs / "a" / "1.csv").write_text("url,caption\n")
    assert job(jobs, input="a/*.csv").input == str(jobs / "a" / "*.csv")
    home = here.parent / "home"
    found = job(jobs, input="~/list.csv", output="~/runs")
    assert (found.input, found.output) == (str(home / "list.csv"), str(home / "runs"))


def test_what_is_nowhere_is_named_with_the_place_that_was_looked_in(places):
    jobs, _ = places
    assert job(jobs).input == str(jobs / "list.csv")
    assert job(jobs).output == "runs"


def test_names_of_models_stay_names(places):
    jobs, _ = places
    found = job(jobs, embed={"model": "ViT-B-32", "pretrained": "openai"})
    assert (found.embed.model, found.embed.pretrained) == ("ViT-B-32", "openai")


def test_the_home_of_nobody_is_one_line(places):
    jobs, _ = places
    for values in ({"input": "~nobody-here/x.csv"}, {"output": "~nobody-here/runs"}):
        with pytest.raises(InputError, match="there is no such user"):
            job(jobs, **values)


def test_a_pattern_beside_a_job_in_a_folder_with_signs_of_patterns(places):
    jobs, _ = places
    odd = jobs / "a[1]"
    odd.mkdir()
    (odd / "x.csv").write_text("url,caption\nhttps://a.example/1.jpg,a cat\n")
    found = job(odd, input="*.csv")
    assert [source.url for source in find_sources(found)] == [f"file://{odd}/x.csv"]


def test_the_folder_for_temporary_files_is_that_of_the_working_folder(places):
    """A worker has another working folder."""
    jobs, here = places
    (jobs / "list.csv").write_text("url,caption\n")
    assert job(jobs, cluster={"scratch": "scratch"}).cluster.scratch == str(here / "scratch")
    home = here.parent / "home"
    assert job(jobs, cluster={"scratch": "~/scratch"}).cluster.scratch == str(home / "scratch")


def test_each_of_several_word_lists_is_found_beside_the_job_file(places):
    jobs, here = places
    (jobs / "a.txt").write_text("word\n")
    (here / "b.txt").write_text("word\n")
    several = job(jobs, captions={"vocabulary": ["a.txt", "b.txt", "c.txt"]}).captions.vocabulary
    assert several == (str(jobs / "a.txt"), str(here / "b.txt"), "c.txt")
    named = job(jobs, captions={"vocabulary": {"x": "a.txt", "y": "b.txt"}}).captions.vocabulary
    assert named == {"x": str(jobs / "a.txt"), "y": str(here / "b.txt")}
