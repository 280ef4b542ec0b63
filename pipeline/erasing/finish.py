"""An erasure from its tombstone to its end, and the end of one that was killed."""

from collections.abc import Callable

from pipeline.erasing.exports import erase_exports
from pipeline.erasing.journal import NAME, Journal, plan_erasure
from pipeline.erasing.parts import erase_parts, erase_shards
from pipeline.erasing.told import erase_told
from pipeline.run import Run
from pipeline.tombstones import Tombstones

REPORT = "report.html"


def finish_undone(run: Run, say: Callable[[str], None]) -> None:
    """Under the run's lock: bring takedowns that were killed on their way to their end."""
    undone = Tombstones.read(run.folder).undone
    if undone:
        dates = ", ".join(stone.date for stone in undone)
        say(f"forget: finishing what was begun on {dates}")
        for note in erase(run).notes:
            say(f"forget: {note}")


def erase(run: Run, journal: Journal | None = None) -> Journal:
    """Take the rows of all tombstones that are not done out of the run folder; what was touched.

    Under the run's lock, after `settle`. Killed at any moment, it is done again from its journal:
    every step looks the same after one time and after two.
    """
    tombstones = Tombstones.read(run.folder)
    uids = sorted(tombstones.uids - tombstones.erased)
    begun = Journal.read(run)
    if begun is not None and begun.uids == uids:
        journal = begun
    elif journal is None or journal.uids != uids:
        journal = plan_erasure(run, uids)
    journal.write(run)
    if journal.takes_something:
        run.folder.remove(REPORT)
        erase_told(run, journal)
        erase_shards(run, journal)
        erase_parts(run, journal)
        erase_exports(run, journal)
    tombstones.all_done().write(run.folder)
    run.folder.remove(NAME)
    return journal
