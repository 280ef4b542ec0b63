"""Which tasks of a process get on."""

import threading
import time

import pytest

from pipeline.config.download import DownloadConfig
from pipeline.fetch import session
from pipeline.words.heartbeat import beat, beat_for_this_thread, last_beat


def in_thread(work: object) -> int:
    """Run it in a thread of its own; that thread's identifier."""
    thread = threading.Thread(target=work)  # type: ignore[arg-type]
    thread.start()
    thread.join(20)
    assert not thread.is_alive()
    assert thread.ident is not None
    return thread.ident


def test_a_beat_is_noted_for_its_own_task_only() -> None:
    me, start = threading.get_ident(), time.monotonic()
    other = in_thread(beat)
    assert last_beat(other) >= start
    assert last_beat(me) < start


def test_a_helper_thread_beats_for_its_task() -> None:
    me, start = threading.get_ident(), time.monotonic()
    in_thread(beat_for_this_thread())
    assert last_beat(me) >= start


@pytest.fixture
def quick_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "_TURN", 0.05)
    monkeypatch.setattr(session, "FetchSession", lambda config: None)
    monkeypatch.setattr(session, "_open", [])


@pytest.mark.usefixtures("quick_turns")
def test_a_shard_that_waits_for_the_fetcher_is_no_stall() -> None:
    """A worker with two threads fetches one shard after the other."""
    started = time.monotonic()

    def second() -> None:
        with session.fetch_session(DownloadConfig()):
            pass

    waiting = threading.Thread(target=second)
    with session.fetch_session(DownloadConfig()):
        session._open.clear()
        waiting.start()
        assert waiting.ident is not None
        while last_beat(waiting.ident) < started:
            assert time.monotonic() < started + 20
            time.sleep(0.02)
    waiting.join(20)
    assert not waiting.is_alive()
