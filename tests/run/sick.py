"""A package whose stages end their process on rows whose captions say so, and how to install it."""

import json
from pathlib import Path

CODE = r'''
import ctypes, json, os, signal, sys, time
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.measure.captions.captions import CaptionStage
from pipeline.measure.stage import Measured, Output, PictureStage
from pipeline.measure.whole import Prepared, WholeStage
from pipeline.table.columns import Column


def eat():
    held = []
    while True:
        held.append(np.ones(4 << 20))
        time.sleep(0.01)


FAULTS = {
    "KILL": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "SEGV": lambda: ctypes.string_at(0),
    "HANG": lambda: time.sleep(600),
    "EXIT": lambda: os._exit(4),
    "EAT": eat,
    "CROWD": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "HUGE": lambda: np.ones(10**15),
}


def strike(kind, captions):
    """Note that these are measured, then end the process if a fault is ordered for one of them."""
    here = Path(__file__).parent
    with (here / "measured.txt").open("a") as out:
        out.write(f"{kind} {len(captions)}\n")
    faults = json.loads((here / "faults.json").read_text()).get(kind, {})
    found = [faults[caption] for caption in captions if caption in faults]
    for fault in found:
        if fault != "CROWD" or found.count("CROWD") > 2:
            FAULTS[fault]()


class Letters(CaptionStage):
    """How many letters."""

    name = "letters"
    rank = 5

    @property
    def writes(self):
        return (Column("letters", pa.int32(), "Letters."),)

    def measure(self, captions):
        strike("caption", captions)
        return {"letters": [sum(map(str.isalpha, c)) for c in captions]}


class Session:
    def prepare(self, rgb):
        return float(rgb.mean())

    def measure(self, items, rows):
        strike("picture", rows["caption"].to_pylist())
        vectors = np.array(items, np.float16)[:, None].repeat(2, 1)
        return Measured({"light": items}, {"light": vectors})


class Light(PictureStage):
    """The mean of the pixels."""

    name = "light"
    rank = 25
    arrays = ("light",)

    @property
    def reads(self):
        return ("caption",)

    @property
    def writes(self):
        return (Column("light", pa.float32(), "Light."),)

    def session(self):
        return Session()


class Dark(Light):
    """Of the same reading, and never at fault."""

    name = "dark"
    arrays = ()

    @property
    def writes(self):
        return (Column("dark", pa.float32(), "Dark."),)

    def session(self):
        return Well()


class Well:
    def prepare(self, rgb):
        return float(255 - rgb.mean())

    def measure(self, items, rows):
        return Measured({"dark": items})


class Rank(WholeStage):
    """Each caption's place among all."""

    name = "rank"
    rank = 50

    @property
    def reads(self):
        return ("caption",)

    @property
    def writes(self):
        return (Column("place", pa.int32(), "Place."),)

    def prepare(self, shard):
        table = shard.table("caption")
        strike("prepare", table["caption"].to_pylist())
        return Prepared(table.select(["uid"]), table)

    def merge(self, shards, rows):
        strike("merge", rows["caption"].to_pylist())
        place = np.argsort(np.argsort(rows["uid"].to_pylist())).astype(np.int32)
        return pa.table({"shard": rows["shard"], "uid": rows["uid"], "place": place})

    def run(self, shard, prepared, merged):
        strike("share", shard.table("caption")["caption"].to_pylist())
        return Output(merged.select(["uid", "place"]))
'''
POINTS = """[winnow.stages]
letters = sick_stages:Letters
light = sick_stages:Light
dark = sick_stages:Dark
rank = sick_stages:Rank
"""


class Sick:
    """The installed package. Until something is ordered, nothing dies."""

    def __init__(self, site: Path) -> None:
        self.site = site
        site.mkdir()
        (site / "sick_stages.py").write_text(CODE)
        facts = site / "sick_stages-1.dist-info"
        facts.mkdir()
        (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: sick-stages\nVersion: 1\n")
        (facts / "entry_points.txt").write_text(POINTS)
        self.order()

    def order(self, **faults: dict[str, str]) -> None:
        """Which captions end the process, and how, by what is done: caption, picture,
        prepare, merge, share (the `run` of a stage over all shards)."""
        (self.site / "faults.json").write_text(json.dumps(faults))

    def measured(self, kind: str) -> list[int]:
        """How many rows each call of `measure` (or `merge`) of a kind got; then forget it."""
        path = self.site / "measured.txt"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return [int(line.split()[1]) for line in lines if line.startswith(kind)]
