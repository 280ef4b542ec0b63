import io
import os

from made_run import many_samples, sample
from rich.console import Console

from pipeline.inspect.status import render, status
from pipeline.table.run import Run
from pipeline.words.sizes import size


def shown(renderable) -> str:
    out = io.StringIO()
    Console(file=out, width=160).print(renderable)
    return out.getvalue()


def test_progress_and_disk_by_stage(make) -> None:
    made = make(many_samples(), skip=frozenset({("embed", 1)}))
    found = status(made.run)
    assert found["stages"]["captions"]["done"] == 3
    assert (found["stages"]["embed"]["done"], found["stages"]["embed"]["total"]) == (2, 3)
    assert found["stages"]["embed"]["rows"] == 35
    assert found["stages"]["download"]["bytes"] > found["stages"]["embed"]["bytes"] > 0
    assert found["bytes"] >= sum(folder["bytes"] for folder in found["folders"].values())
    assert "2/3" in shown(render(found))


def test_a_held_lock_means_running_and_names_the_process(make) -> None:
    made = make([sample(0)])
    assert status(made.run)["running"] is False
    driver = Run(made.run.folder.url)
    driver.lock()
    found = status(made.run)
    driver.unlock()
    assert found["running"] is True
    assert found["process"].isdigit()
    assert f"running (process {found['process']})" in shown(render(found))
    assert status(made.run)["running"] is False


def test_asking_for_the_status_releases_the_lock(make) -> None:
    made = make([sample(0)])
    for _ in range(2):
        with made.run.locked():
            assert status(made.run)["process"] == str(os.getpid())
        assert status(made.run)["running"] is False


def test_parts_of_earlier_settings_are_distinguished(make) -> None:
    made = make([sample(0)])
    made.run.folder.write("parts/embed-000000000000/00000.parquet", b"x" * 2_000)
    found = status(made.run)
    assert found["folders"]["parts/embed-000000000000"] == {"bytes": 2_000, "current": False}
    assert "2.0 kB of parts from earlier settings" in shown(render(found))


def test_before_the_input_is_dealt(make) -> None:
    made = make([sample(0)])
    made.run.folder.remove("shards")
    made.run.folder.remove("state.json")
    found = status(made.run)
    assert (found["shards"], found["stages"], found["finished"]) == (None, {}, None)
    assert "not dealt into shards yet" in shown(render(found))


def test_sizes_as_text() -> None:
    assert [size(n) for n in (0, 999, 1_500, 2_500_000, 7e15)] == [
        "0 B", "999 B", "1.5 kB", "2.5 MB", "7.0 PB",
    ]  # fmt: skip
