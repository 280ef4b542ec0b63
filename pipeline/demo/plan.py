"""Plans the demo web: which rows are clean, and which have which planted fault."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

import numpy as np

from pipeline.demo.kinds import KINDS, Kind
from pipeline.demo.pictures import Format, Picture
from pipeline.demo.web import Route
from pipeline.demo.world import GRAPHIC_CAPTION, N_TEMPLATES, Scene, caption, random_scene
from pipeline.words.uid import make_uid

SOURCES = ("gallery", "blog", "shop", "forum")
FORMATS: tuple[Format, ...] = ("jpg", "webp", "png")
FULL_SIZE = 2_000
"""The number of input rows for which `Kind.count` is meant."""


@dataclass(frozen=True)
class Row:
    """One (url, caption) pair and the truth about it. `times` is how often the input lists it."""

    url: str | None
    caption: str | None
    source: str
    kind: str
    reason: str | None
    of: str | None = None
    times: int = 1

    @property
    def uid(self) -> str:
        return make_uid(self.url, self.caption)


@dataclass
class Plan:
    """The rows, each once; `order`, their numbers as the input lists them; the pictures to be
    drawn; the site's routes.
    """

    rows: list[Row] = field(default_factory=list)
    order: list[int] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    routes: dict[str, Route] = field(default_factory=dict)


def make_plan(base_url: str, seed: int, n: int, sides: tuple[int, int]) -> Plan:
    """A web of `n` input rows. The same arguments always give the same plan; `base_url` changes
    the URLs only. No row shows or names a held-out composition.
    """
    planner = _Planner(base_url, np.random.default_rng(seed), sides)
    counts = {k.name: max(1, round(k.count * n / FULL_SIZE)) for k in KINDS.values() if k.count}
    clean = n - sum(counts.values())
    if clean < max(counts.values()):
        raise ValueError(f"{n} rows are too few to have clean ones among them; take 120 or more")
    for _ in range(clean):
        planner.add(KINDS["clean"])
    for name, count in counts.items():
        for _ in range(count):
            if name == "listed_again":
                planner.list_again()
            elif KINDS[name].repeats:
                planner.repeat(KINDS[name])
            else:
                planner.add(KINDS[name])
    return planner.finish()


class _Planner:
    def __init__(self, base_url: str, rng: np.random.Generator, sides: tuple[int, int]) -> None:
        self.base_url = base_url
        self.rng = rng
        self.sides = sides
        self.plan = Plan()
        self.taken: set[str] = set()
        self.clean: list[tuple[int, Scene, int, Picture]] = []

    def add(self, kind: Kind) -> None:
        """One row of a kind that has no related rows."""
        while True:
            scene, template = random_scene(self.rng), int(self.rng.integers(N_TEMPLATES))
            source = self._source(kind)
            picture = self._picture(kind, scene, source)
            path = self._path(picture)
            text = self._caption(kind, scene, template)
            row = Row(self._url(kind, path), text, source, kind.name, kind.reason)
            if row.uid not in self.taken:
                break
        if kind.name == "clean":
            self.clean.append((len(self.plan.rows), scene, template, picture))
        if kind.url is None:
            self._publish(kind, path, picture)
        self._append(row)

    def repeat(self, kind: Kind) -> None:
        """A clean row's picture again, elsewhere, with its own or another caption of its scene."""
        number, scene, template, original = self.clean[self.rng.integers(len(self.clean))]
        if self.rng.random() < 0.5:
            template = int(self.rng.integers(N_TEMPLATES))
        source = self._source(kind)
        token = self._token()
        if kind.name == "same_bytes":
            suffix = original.path.rpartition(".")[2]
            path = f"/{source}/{token}.{suffix}"
            self.plan.routes[path] = Route(file=original.path)
        else:
            form: Format = "jpg" if self.rng.random() < 0.8 else "webp"
            picture = dataclasses.replace(
                original, path=f"{source}/{token}.{form}", form=form, change=kind.change
            )
            path = f"/{picture.path}"
            self.plan.pictures.append(picture)
        first = self.plan.rows[number].uid
        text = caption(scene, template)
        self._append(Row(self.base_url + path, text, source, kind.name, kind.reason, first))

    def list_again(self) -> None:
        """A clean row that the input lists once more."""
        number = self.clean[self.rng.integers(len(self.clean))][0]
        row = self.plan.rows[number]
        self.plan.rows[number] = dataclasses.replace(row, times=row.times + 1)

    def finish(self) -> Plan:
        numbers = [i for i, row in enumerate(self.plan.rows) for _ in range(row.times)]
        self.plan.order = self.rng.permutation(numbers).tolist()
        return self.plan

    def _append(self, row: Row) -> None:
        self.taken.add(row.uid)
        self.plan.rows.append(row)

    def _token(self) -> str:
        return f"{self.rng.integers(1 << 40):010x}"

    def _source(self, kind: Kind) -> str:
        if kind.source and self.rng.random() < 0.7:
            return kind.source
        return str(self.rng.choice(SOURCES, p=(0.4, 0.3, 0.2, 0.1)))

    def _picture(self, kind: Kind, scene: Scene, source: str) -> Picture:
        form = kind.form or FORMATS[self.rng.choice(3, p=(0.8, 0.1, 0.1))]
        low, high = self.sides
        return Picture(
            path=f"{kind.place or source}/{self._token()}.{form}",
            scene=None if kind.graphic else scene,
            seed=int(self.rng.integers(1 << 62)),
            side=round(low + (high - low) * self.rng.beta(1, 5)),
            shape=float(np.exp(self.rng.uniform(-0.22, 0.22))) if self.rng.random() < 0.4 else 1.0,
            form=form,
            change=kind.change,
        )

    def _path(self, picture: Picture) -> str:
        """The URL's path; one in ten does not end like a picture's file name."""
        if self.rng.random() < 0.9:
            return f"/{picture.path}"
        folder, _, name = picture.path.partition("/")
        return f"/{folder}/view?id={name.partition('.')[0]}"

    def _caption(self, kind: Kind, scene: Scene, template: int) -> str | None:
        if kind.graphic and self.rng.random() < 0.5:
            return GRAPHIC_CAPTION
        text = caption(scene, template)
        return kind.caption(text, scene, self.rng) if kind.caption else text

    def _url(self, kind: Kind, path: str) -> str | None:
        return kind.url(path, self.rng) if kind.url else self.base_url + path

    def _publish(self, kind: Kind, path: str, picture: Picture) -> None:
        route = kind.route(self.rng) if kind.route else Route()
        location = route.headers.get("Location")
        if location is not None:
            elsewhere = f"/moved/{self._token()}"
            target = {"{elsewhere}": elsewhere, "{self}": path}.get(location, location)
            self.plan.routes[path] = dataclasses.replace(route, headers={"Location": target})
            if target != elsewhere:
                return
            path, route = elsewhere, Route()
        if route.status >= 400 and route.fails is None:
            self.plan.routes[path] = route
            return
        self.plan.pictures.append(picture)
        if path != f"/{picture.path}":
            route = dataclasses.replace(route, file=picture.path)
        if route != Route():
            self.plan.routes[path] = route
