"""Carries out an erasure after its tombstone is written, and finishes one that was killed."""

from collections.abc import Callable

from pipeline.engine.erase.journal import NAME, Journal
from pipeline.engine.erase.kinds import kinds
from pipeline.engine.erase.quoted import cut_quotes
from pipeline.table.run import Run
from pipeline.table.tombstones import Tombstones


def finish_undone(run: Run, say: Callable[[str], None]) -> None:
    """Under the run's lock: finish takedowns that were killed."""
    undone = Tombstones.read(run.folder).undone
    if undone:
        dates = ", ".join(stone.date for stone in undone)
        say(f"forget: finishing the takedown of {dates}")
        for note in erase(run).notes:
            say(f"forget: {note}")


def erase(run: Run, journal: Journal | None = None) -> Journal:
    """Erase the rows of all tombstones that are not done yet; the journal of what was changed.

    Under the run's lock, after `settle`. If it is killed, it is repeated from its journal; every
    step has the same result when it is done twice.
    """
    tombstones = Tombstones.read(run.folder)
    uids = sorted(tombstones.uids - tombstones.erased)
    begun = Journal.read(run)
    if begun is not None and begun.uids == uids:
        journal = begun
    elif journal is None or journal.uids != uids:
        journal = Journal.of(run, uids)
    journal.write(run)
    if journal.takes_something:
        cut_quotes(run, journal)
        for name, kind in kinds().items():
            kind.erase(run, journal.uids, journal.held[name])
    tombstones.all_done().write(run.folder)
    run.folder.remove(NAME)
    return journal
