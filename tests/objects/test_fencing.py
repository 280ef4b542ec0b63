"""Late writers on an object store: nothing of a later one is overwritten."""

import json
import signal
import subprocess
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest
import yaml

from pipeline.config.load import load_job
from pipeline.engine import tasks
from pipeline.engine.plan_file import save_plan
from pipeline.engine.runner import prepare
from pipeline.ingest.deal import deal
from pipeline.table import lease
from pipeline.table import s3 as requests
from pipeline.table.freshness import INGEST
from pipeline.table.part import commit, read_sidecar
from pipeline.table.run import Run
from pipeline.table.storage import Folder
from pipeline.words.errors import InputError, LateError, StoppedError

UIDS = ["a" * 32, "b" * 32]


def put(folder: Folder, value: int, companion: bytes = b"") -> str:
    """A part of shard 3 with this value; its digest."""
    table = pa.table({"uid": UIDS, "x": [value, value]})
    files = {}
    if companion:
        path = Path(folder.scratch) / uuid.uuid4().hex  # type: ignore[attr-defined]
        path.write_bytes(companion)
        files = {"00003.tar": path}
    return commit(
        folder, "00003", 3, {"00003.parquet": table}, files,
        stage="x", fingerprint="f" * 64, inputs={}, rows=2, seconds=0.1, peak_memory_mb=1.0,
    ).digest  # fmt: skip


@pytest.fixture
def place(s3, tmp_path: Path):
    """A function that gives a new task's view of one folder of parts."""
    url = f"{s3.bucket()}/run"

    def view(covers: bool = True) -> Folder:
        folder = Folder(url).sub("parts/x-fp")
        folder.scratch = tmp_path  # type: ignore[attr-defined]
        if covers:
            folder.cover("00003")
        return folder

    return view


def stored(place) -> tuple[str, bytes, bytes]:
    """The digest on record, and the part's files as they are."""
    folder = place(covers=False)
    sidecar = read_sidecar(folder, "00003")
    assert sidecar is not None
    return sidecar.digest, folder.read("00003.parquet"), folder.read("00003.tar")


@pytest.mark.parametrize("before", ["nothing", "an earlier part", "an unfinished part"])
def test_a_worker_thought_dead_overwrites_nothing(place, before: str) -> None:
    if before != "nothing":
        put(place(), 1, b"one")
    if before == "an unfinished part":
        place(covers=False).remove("00003.json")
    late, second = place(), place()
    mine = put(second, 2, b"two")
    kept = stored(place)
    assert kept[0] == mine
    with pytest.raises(LateError, match=r"00003\.\w+ was written by another process meanwhile"):
        put(late, 3, b"three")
    assert stored(place) == kept


def test_what_is_covered_stays_so_when_a_listing_is_held_and_let_go(place) -> None:
    """The version that counts is the one from before the work, not one that was listed since."""
    late, other = place(), place(covers=False)
    other.write("00003.json", b"of the other")
    with late.hold():
        late.names()
    with pytest.raises(LateError, match="written by another process meanwhile"):
        late.write("00003.json", b"late")
    assert other.read("00003.json") == b"of the other"


def test_a_late_worker_is_stopped_at_the_file_after_which_the_other_came(place) -> None:
    """It had written the table and not the tar when the other began."""
    late = place()
    late.write("00003.parquet", b"half of a part")
    mine = put(place(), 2, b"two")
    kept = stored(place)
    assert kept[0] == mine
    for name in ("00003.tar", "00003.json"):
        with pytest.raises(LateError):
            late.write(name, b"late")
    assert stored(place) == kept


def test_a_write_whose_answer_was_lost_is_not_taken_for_another_s(s3) -> None:
    folder = Folder(f"{s3.bucket('losing')}/run")
    folder.cover("parts")
    folder.write("parts/00003.json", b"mine")
    assert folder.read("parts/00003.json") == b"mine"
    folder.write("parts/00003.json", b"mine again")  # its version is known all the same
    assert Folder(folder.url).read("parts/00003.json") == b"mine again"


def test_large_files_are_fenced_too(s3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "_PART", 5 << 20)
    url = f"{s3.bucket()}/run"
    late, second = Folder(url), Folder(url)
    for folder in (late, second):
        folder.cover("parts")
    for folder, byte in ((second, b"2"), (late, b"3")):
        path = tmp_path / "large"
        path.write_bytes(byte * (11 << 20))
        if folder is late:
            with pytest.raises(LateError):
                folder.put(path, "parts/00003.tar")
        else:
            folder.put(path, "parts/00003.tar")
    assert Folder(url).read("parts/00003.tar") == b"2" * (11 << 20)
    with Folder(url).hold() as _, Folder(url).local("parts/00003.tar") as path:
        assert path.stat().st_size == 11 << 20


# The lease of a driver.

HOLDER = """
import sys
from pipeline.table import lease
from pipeline.table.run import Run
lease.SECONDS, lease.RENEWED = 2.0, 0.2
run = Run(sys.argv[1])
run.lock()
print("held", flush=True)
sys.stdin.readline()
try:
    run.folder.write("state.json", b"late")
except Exception as error:
    print(type(error).__name__, error, flush=True)
"""


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "SECONDS", 2.0)
    monkeypatch.setattr(lease, "RENEWED", 0.2)
    monkeypatch.setattr(lease, "_LOOKED", 0.2)


@pytest.fixture
def holder(s3, quick):
    """Another process that holds a run's lease, and the run's URL."""
    url = f"{s3.bucket()}/runs/job"
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process, url
    process.kill()
    process.wait(10)


def test_a_second_driver_is_refused_while_the_first_renews_its_lease(holder) -> None:
    process, url = holder
    said: list[str] = []
    line = rf"is locked by a running winnow \(process {process.pid} on .+\); wait for it"
    with pytest.raises(InputError, match=line):
        Run(url).lock(said.append)
    assert "waits up to 2 s for the lease of process" in said[0]


def test_the_lease_of_a_killed_process_of_this_machine_is_taken_at_once(holder) -> None:
    process, url = holder
    process.kill()
    process.wait(10)
    said: list[str] = []
    run = Run(url)
    run.lock(said.append)
    assert said == []
    run.folder.write("state.json", b"mine")
    run.unlock()
    assert run.folder.names() == ["state.json"]


def test_a_driver_that_stood_still_too_long_writes_nothing_more(holder) -> None:
    """Ctrl-Z, a laptop's sleep, a network that was gone: another driver has taken over."""
    process, url = holder
    process.send_signal(signal.SIGSTOP)
    try:
        run = Run(url)
        run.lock()
        run.folder.write("state.json", b"mine")
    finally:
        process.send_signal(signal.SIGCONT)
    out, _ = process.communicate("\n", timeout=30)
    assert "StoppedError" in out
    assert "another winnow has taken over this run" in out
    assert run.folder.read("state.json") == b"mine"
    run.check_lock()  # and it has not spoilt the other's lease
    run.unlock()


def test_a_lease_that_was_lost_is_noticed_by_its_own_thread(s3, quick) -> None:
    run = Run(f"{s3.bucket()}/runs/job")
    run.lock()
    run.folder.objects.store.write(f"{run.folder.path('.lock')}", b"{}", "any")
    end = time.monotonic() + 20
    found = None
    while found is None and time.monotonic() < end:
        try:
            run.check_lock()
            time.sleep(0.1)
        except StoppedError as error:
            found = error
    assert "another winnow has taken over" in str(found)


@pytest.mark.parametrize("kind", ["refusing", "ignoring"])
def test_a_store_without_conditional_writes_is_named_once(
    s3, kind: str, quick, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What a process finds out of a store holds for all of its buckets; here only for this one.
    monkeypatch.setattr(requests, "_without", set())
    run = Run(f"{s3.bucket(kind)}/runs/job")
    said: list[str] = []
    run.lock(said.append)
    assert [line for line in said if "this store has no conditional PUT" in line] == said != []
    run.folder.cover("parts")
    run.folder.write("parts/1.json", b"1")
    run.folder.write("parts/1.json", b"2")
    run.unlock()
    assert run.folder.read("parts/1.json") == b"2"


def test_a_store_of_another_kind_has_leases_too(quick) -> None:
    """fsspec's own store in memory: it knows new objects, and no versions."""
    url = f"memory://{uuid.uuid4().hex}/job"
    run, said = Run(url), []
    run.lock(said.append)
    assert said == []
    with pytest.raises(InputError, match="is locked by a running winnow"):
        Run(url).lock()
    run.unlock()
    Run(url).lock()


def test_a_task_that_comes_back_late_leaves_the_other_s_part(
    s3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker stands still while it measures; its task is run elsewhere, and then it goes on."""
    job_file = tmp_path / "job.yaml"
    rows = [{"url": f"https://a.example/{i}.jpg", "caption": f"cat {i}"} for i in range(4)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    job_file.write_text(yaml.safe_dump({
        "input": str(tmp_path / "rows.jsonl"), "output": f"{s3.bucket()}/runs",
        "captions": {"toxicity": None, "language": False}, "images": {"nsfw": None},
        "cluster": {"executor": "inline"},
    }))  # fmt: skip
    prepared = prepare(load_job(job_file, ()))
    run, listing = prepared.run, prepared.listing
    index = deal(run, prepared.job, listing, lambda _: None)
    save_plan(prepared.plan)
    node = prepared.plan.by_name["captions"]
    digests = {INGEST: index.shards[0][1]}
    call = (run.folder.url, prepared.plan.digest, "captions", 0, digests)
    measure, begun, go_on = type(node.stage).run, threading.Event(), threading.Event()

    def slow(self, *args):
        if not begun.is_set():
            begun.set()
            assert go_on.wait(60)
        return measure(self, *args)

    monkeypatch.setattr(type(node.stage), "run", slow)
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(tasks.run_table, *call)
        assert begun.wait(60)
        second = tasks.run_table(*call)
        place = run.folder.sub(node.folder)
        kept = {name: place.read(name) for name in place.names()}
        go_on.set()
        with pytest.raises(LateError, match="was written by another process meanwhile"):
            late.result()
    assert kept == {name: place.read(name) for name in place.names()}
    sidecar = read_sidecar(place, "00000")
    assert sidecar is not None
    assert sidecar.digest == second.digests["captions"]
