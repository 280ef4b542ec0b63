"""A run over pictures that are here already: no request, the same checks, every row counted."""

from pathlib import Path

import pytest
from lab import Lab

from pipeline.inspect.query import query
from pipeline.inspect.stats import stats

N = 8


@pytest.fixture
def rows(lab: Lab) -> list[dict[str, str]]:
    """Paths of the site's pictures, a missing one, and one outside."""
    www = lab.site.folder / "www"
    found = [{"url": str(www / f"{i}.jpg"), "caption": f"picture {i}"} for i in range(N)]
    (lab.folder / "outside.jpg").write_bytes((www / "0.jpg").read_bytes())
    found.append({"url": str(www / "gone.jpg"), "caption": "not there"})
    found.append({"url": str(lab.folder / "outside.jpg"), "caption": "elsewhere"})
    return found


def reasons(run) -> dict[str, int]:
    shown = stats(run)
    assert shown["conserved"] is True
    return shown["reasons"]


def test_allowed_pictures_are_kept_and_the_rest_has_a_reason(lab: Lab, rows, monkeypatch):
    monkeypatch.setattr("socket.getaddrinfo", lambda *_: pytest.fail("a name was looked up"))
    job = lab.job(rows, download={"allow_paths": [str(lab.site.folder / "www")]})
    run = lab.run(job).run
    assert reasons(run) == {"path_forbidden": 1, "file_missing": 1}
    assert stats(run)["kept"] == N
    (row,) = query(run, "select * from samples where caption = 'picture 3'").to_pylist()
    data = (lab.site.folder / "www" / "3.jpg").read_bytes()
    assert (row["bytes"], row["format"], row["original_width"]) == (len(data), "jpeg", 96)
    assert row["robots_txt"] is None


def test_without_allow_paths_nothing_of_the_disk_is_read(lab: Lab, rows, monkeypatch):
    monkeypatch.setattr("pipeline.fetch.requests.read_place", lambda *_: pytest.fail("read"))
    rows += [{"url": Path(rows[0]["url"]).as_uri(), "caption": "by its address"}]
    run = lab.run(lab.job(rows)).run
    assert reasons(run) == {"url_invalid": len(rows) - 1, "scheme_forbidden": 1}


def test_a_folder_allowed_later_reads_only_the_rows_that_were_refused(lab: Lab, rows):
    web = lab.site.rows[:4]
    first = lab.run(lab.job([*rows, *web])).run
    assert stats(first)["kept"] == len(web)
    allowed = f"download.allow_paths=[{lab.site.folder / 'www'}]"
    asked = len(lab.log(lab.run(lab.folder / "job.yaml")))
    second = lab.run(lab.folder / "job.yaml", allowed)
    assert len(lab.log(second)) > asked
    assert reasons(second.run)["path_forbidden"] == 1
    assert stats(second.run)["kept"] + reasons(second.run).get("duplicate", 0) == N + len(web)


def test_a_picture_on_the_blocklist_is_not_stored_from_the_disk_either(lab: Lab, rows):
    import hashlib

    digest = hashlib.sha256((lab.site.folder / "www" / "2.jpg").read_bytes()).hexdigest()
    (lab.folder / "list.txt").write_text(f"sha256:{digest}\n")
    allowed = {"allow_paths": [str(lab.site.folder / "www")],
               "blocklist": str(lab.folder / "list.txt")}  # fmt: skip
    run = lab.run(lab.job(rows, download=allowed)).run
    assert reasons(run)["blocklisted"] == 1


def test_a_folder_of_pictures_with_its_metadata_file(lab: Lab, rows):
    www = lab.site.folder / "www"
    lines = ["file_name,text", *(f"{i}.jpg,picture {i}" for i in range(N))]
    (lab.folder / "metadata.csv").write_text("\n".join(lines) + "\n")
    job = lab.job(input=str(lab.folder / "metadata.csv"), download={"allow_paths": [str(www)]})
    run = lab.run(job).run
    assert (stats(run)["kept"], reasons(run)) == (N, {})
