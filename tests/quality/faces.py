"""Faces: recall by size and false alarms of the packaged detector, and what the blur leaves.

`--data FOLDER` may hold `coco/` (MS COCO 2017's layout: `annotations/person_keypoints_*2017.json`,
`annotations/instances_*2017.json`, and the pictures), `dlib-faces/` (dlib's `examples/faces`) and
`openclipart/` (the PNG files of Debian's openclipart-png, in any folders).
"""

import json
import random
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np

from pipeline.models.boxes import Boxes
from pipeline.models.faces import THRESHOLD, load_faces, sharpness
from tests.quality.scores import percent, table

BLOCKS = ("faces", "face sharpness")
SIZES = ((0, 12), (12, 24), (24, 10_000))
"""Bounds of a face's size in the stored picture, pixels."""
STORED, DRAWINGS = 256, 300
SCORES = (0.2, THRESHOLD, 0.5, 0.6)


@dataclass(frozen=True)
class Photograph:
    """A picture, and the faces in it as (x, y of the centre, size), pixels."""

    path: Path
    faces: list[tuple[float, float, float]] = field(default_factory=list)
    people: bool = True


def coco(folder: Path) -> Iterator[Photograph]:
    """Faces whose nose and both eyes are marked visible; the size is 2.2 times the eyes' distance,
    or 3.2 times that from their middle to the nose, whichever is greater."""
    for part in ("train2017", "val2017"):
        marks = json.loads((folder / f"annotations/person_keypoints_{part}.json").read_text())
        things = json.loads((folder / f"annotations/instances_{part}.json").read_text())
        people = {one["image_id"] for one in things["annotations"] if one["category_id"] == 1}
        for image in marks["images"]:
            faces = []
            for one in marks["annotations"]:
                if one["image_id"] != image["id"] or one.get("iscrowd"):
                    continue
                points = np.array(one["keypoints"], float).reshape(-1, 3)[:3]
                if (points[:, 2] == 2).all():
                    nose, left, right = points[:, :2]
                    eyes, middle = np.linalg.norm(left - right), (left + right) / 2
                    size = max(2.2 * eyes, 3.2 * np.linalg.norm(middle - nose))
                    x, y = points[:, :2].mean(axis=0)
                    faces.append((float(x), float(y), float(size)))
            path = folder / part / image["file_name"]
            if path.is_file():
                yield Photograph(path, faces, image["id"] in people)


def dlib(folder: Path) -> Iterator[Photograph]:
    for name in ("training.xml", "testing.xml"):
        for image in ElementTree.parse(folder / name).iter("image"):
            faces = []
            for box in image.iter("box"):
                left, top, wide, high = (
                    int(box.get(k, 0)) for k in ("left", "top", "width", "height")
                )
                faces.append((left + wide / 2, top + high / 2, float(max(wide, high))))
            yield Photograph(folder / str(image.get("file")), faces)


def stored(path: Path) -> tuple[np.ndarray, float] | None:
    """As winnow stores it by default, RGB, and by how much it was made smaller."""
    bgr = cv2.imread(str(path))
    if bgr is None:
        return None
    scale = min(1.0, STORED / min(bgr.shape[:2]))
    if scale < 1:
        bgr = cv2.resize(bgr, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(bgr[:, :, ::-1]), scale


def is_found(face: tuple[float, float, float], boxes: Boxes, least: float, shape: tuple) -> bool:
    """Whether a box of at least this score holds the face's centre and is about as large."""
    x, y, size = face
    height, width = shape[:2]
    for edges, score in zip(boxes.edges, boxes.scores, strict=True):
        left, top, right, bottom = edges * (width, height, width, height)
        ratio = max(right - left, bottom - top) / size
        if score >= least and left <= x <= right and top <= y <= bottom and 0.4 < ratio < 3:
            return True
    return False


Detector = Callable[[np.ndarray], Boxes]


def packaged() -> Detector:
    detector = load_faces(1)
    return lambda rgb: detector.find([detector.prepare(rgb)])[0]


def counted(
    photographs: list[Photograph], drawings: list[Path], detect: Detector
) -> list[list[str]]:
    """For each score: recall by size, and alarms in photographs without people and in drawings."""
    seen, alarms = [], {"photographs": [], "drawings": []}
    start, looked = time.process_time(), 0
    for one in photographs:
        if (found := stored(one.path)) is None:
            continue
        boxes, looked = detect(found[0]), looked + 1
        seen += [([v * found[1] for v in face], boxes, found[0].shape) for face in one.faces]
        if not one.people:
            alarms["photographs"].append(boxes)
    print(
        f"{looked / (time.process_time() - start):.1f} pictures a second of one core",
        file=sys.stderr,
    )
    alarms["drawings"] = [detect(got[0]) for path in drawings if (got := stored(path)) is not None]
    rows = []
    for least in SCORES:
        cells = [f"{least}"]
        for low, high in SIZES:
            own = [one for one in seen if low <= one[0][2] < high]
            cells.append(percent(sum(is_found(f, b, least, s) for f, b, s in own), len(own)))
        for kind in ("photographs", "drawings"):
            hit = [bool((boxes.scores >= least).any()) for boxes in alarms[kind]]
            cells.append(percent(sum(hit), len(hit)))
        rows.append(cells)
    return rows


def faces(data: Path, detect: Detector) -> str:
    photographs = [*coco(data / "coco"), *dlib(data / "dlib-faces")]
    drawings = sorted((data / "openclipart").rglob("*.png"))
    drawings = random.Random(0).sample(drawings, min(DRAWINGS, len(drawings)))
    head = ["least score", "faces below 12 px", "12–24 px", "24 px and more"]
    head += ["alarms: photographs without people", "alarms: drawings"]
    return table(head, counted(photographs, drawings, detect))


def sharper(data: Path) -> str:
    """How often a face is sharper than itself blurred, and AUC over all faces."""
    detector, own, blurred = load_faces(1), [], {0.03: [], 0.06: []}
    for one in dlib(data / "dlib-faces"):
        if (found := stored(one.path)) is None:
            continue
        rgb = found[0]
        picture = detector.prepare(rgb)
        boxes = detector.find([picture])[0]
        for edges in boxes.edges[boxes.scores >= THRESHOLD]:
            size = float((edges[2] - edges[0]) * rgb.shape[1])
            own.append(sharpness(picture, edges))
            for share, values in blurred.items():
                soft = cv2.GaussianBlur(rgb, (0, 0), share * size)
                values.append(sharpness(detector.prepare(soft), edges))
    rows = []
    for share, values in blurred.items():
        pairs = np.subtract.outer(np.array(own), np.array(values))
        auc = float((pairs > 0).mean() + 0.5 * (pairs == 0).mean())
        lower = sum(b < a for a, b in zip(own, values, strict=True))
        medians = [f"{np.median(own):.2f}", f"{np.median(values):.2f}"]
        first = f"{100 * share:.0f} % of the face's width"
        rows.append([first, *medians, percent(lower, len(own)), f"{auc:.3f}"])
    head = ["Gaussian blur, σ", "median before", "median after", "lower than before", "AUC"]
    return table(head, rows)


def tables(data: Path | None) -> dict[str, str]:
    found = {}
    if data is not None and (data / "dlib-faces").is_dir():
        found["face sharpness"] = sharper(data)
        if (data / "coco").is_dir() and (data / "openclipart").is_dir():
            found["faces"] = faces(data, packaged())
    return found
