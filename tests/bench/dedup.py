"""The search for near vectors and near hashes, beside what people run for it: docs/performance.md.

`python tests/bench/dedup.py [--rows 100000 1000000] [--hashes 1000000]` (`make bench-dedup`). Each
method runs in a process of its own: wall and CPU time, and its greatest resident memory. Vectors
are clustered (1,000 clusters of Zipf's sizes, 512 numbers of float16), and one in a hundred is a
copy of another one with a cosine of at least 0.96. What is too slow for all rows is run for a part
of the queries, and the time extrapolated. Recall and precision are held against the exact
neighbours of 4,000 rows.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

DIM, LEAST, COPIES, CLUSTERS = 512, 0.96, 100, 1000
SAMPLE = 4000
"""Rows whose exact neighbours the answers are held against."""
BITS = 31
Pairs = tuple[np.ndarray, np.ndarray]


def vectors(rows: int, path: Path) -> None:
    """Write `rows` vectors, float16; every hundredth is a copy of another row."""
    rng = np.random.default_rng(0)
    centres = _unit(rng.standard_normal((CLUSTERS, DIM), np.float32))
    shares = 1 / np.arange(1, CLUSTERS + 1)
    of = rng.choice(CLUSTERS, rows, p=shares / shares.sum())
    out = np.lib.format.open_memmap(path, "w+", np.float16, (rows, DIM))
    for start in range(0, rows, 65_500):
        part = of[start : start + 65_500]
        noise = _unit(rng.standard_normal((len(part), DIM), np.float32))
        found = _unit(0.8 * centres[part] + 0.6 * noise)
        copied = np.arange(0, len(part) - 1, COPIES)
        spread = rng.uniform(0, 0.28, (len(copied), 1)).astype(np.float32)
        away = _unit(rng.standard_normal((len(copied), DIM), np.float32))
        found[copied] = found[copied + rng.integers(1, min(COPIES, len(part) - copied[-1]))]
        found[copied] += spread * away
        out[start : start + len(part)] = _unit(found)
    out.flush()


def hashes(rows: int, path: Path) -> None:
    """Write random hashes, uint8 (rows, 32); every hundredth differs from another in few bits."""
    rng = np.random.default_rng(0)
    found = rng.integers(0, 256, (rows, 32), np.uint8)
    for row in range(0, rows - 1, COPIES):
        bits = np.unpackbits(found[row + 1])
        bits[rng.permutation(256)[: rng.integers(0, 50)]] ^= 1
        found[row] = np.packbits(bits)
    np.save(path, found)


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def own(stored: np.ndarray) -> tuple[Pairs, float]:
    from pipeline.measure.dedup.neighbours import SearchPlan, cosine_pairs
    from pipeline.measure.dedup.stored import Vectors

    left, right, _ = cosine_pairs(Vectors(stored), SearchPlan(), LEAST)
    return (left, right), 1.0


def blocked(all_: np.ndarray) -> tuple[Pairs, float]:
    """All products, block by block."""
    share = min(1.0, 1e5**2 / len(all_) ** 2)
    found: list[tuple[np.ndarray, np.ndarray]] = []
    for start in range(0, int(len(all_) * share), 1024):
        near = all_[start : start + 1024] @ all_[start:].T >= LEAST
        a, b = np.nonzero(near)
        keep = a < b
        found.append((a[keep] + start, b[keep] + start))
    left, right = (np.concatenate(side) for side in zip(*found, strict=True))
    return (left, right), (1 - (1 - share) ** 2) if share < 1 else 1.0


def faiss_flat(all_: np.ndarray) -> tuple[Pairs, float]:
    import faiss

    index = faiss.IndexFlatIP(DIM)
    index.add(all_)
    share = min(1.0, 2e4 * 1e5 / len(all_) ** 2)
    return _ranges(index, all_[: int(len(all_) * share)], LEAST), share


def faiss_ivf(all_: np.ndarray) -> tuple[Pairs, float]:
    """As FAISS' guide says: 4·√n lists, here of float16, eight of them looked into."""
    import faiss

    lists = int(4 * np.sqrt(len(all_)))
    index: Any = faiss.IndexIVFScalarQuantizer(
        faiss.IndexFlatIP(DIM), DIM, lists, faiss.ScalarQuantizer.QT_fp16,
        faiss.METRIC_INNER_PRODUCT,
    )  # fmt: skip
    sample = np.random.default_rng(0).permutation(len(all_))[: 64 * lists]
    index.train(all_[sample])
    index.add(all_)
    index.nprobe = 8
    return _ranges(index, all_, LEAST), 1.0


def _ranges(index: Any, asked: np.ndarray, line: float) -> Pairs:
    found: list[tuple[np.ndarray, np.ndarray]] = []
    for start in range(0, len(asked), 1024):
        lims, _, right = index.range_search(asked[start : start + 1024], line)
        counts = np.diff(lims.astype(np.int64))
        left = np.repeat(np.arange(start, start + len(counts)), counts)
        keep = left < right
        found.append((left[keep], right[keep]))
    left, right = (np.concatenate(side) for side in zip(*found, strict=True))
    return left, right


def semdedup(all_: np.ndarray) -> tuple[Pairs, float]:
    """SemDeDup's scheme (Abbas et al., 2023): k-means, each vector in one cell, products there."""
    import faiss

    count = int(np.sqrt(len(all_)))
    means = faiss.Kmeans(DIM, count, niter=20, spherical=True, seed=1, max_points_per_centroid=256)
    means.train(all_)
    cell = means.index.search(all_, 1)[1].ravel()
    order = np.argsort(cell, kind="stable")
    found: list[tuple[np.ndarray, np.ndarray]] = []
    for rows in np.split(order, np.flatnonzero(np.diff(cell[order])) + 1):
        a, b = np.nonzero(np.triu(all_[rows] @ all_[rows].T >= LEAST, 1))
        found.append((rows[a], rows[b]))
    left, right = (np.concatenate(side) for side in zip(*found, strict=True))
    return (np.minimum(left, right), np.maximum(left, right)), 1.0


def own_hashes(all_: np.ndarray) -> tuple[Pairs, float]:
    from pipeline.measure.dedup.hamming import Hamming

    left, right, _ = Hamming(all_, BITS).pairs()
    return (left, right), 1.0


def faiss_hashes(all_: np.ndarray) -> tuple[Pairs, float]:
    """All of them compared: IndexBinaryFlat."""
    import faiss

    index = faiss.IndexBinaryFlat(256)
    index.add(all_)
    share = min(1.0, 1e10 / len(all_) ** 2)
    return _ranges(index, all_[: int(len(all_) * share)], BITS + 1), share


def faiss_multi(all_: np.ndarray) -> tuple[Pairs, float]:
    """16 tables of 16 bits, and one bit flipped: IndexBinaryMultiHash."""
    import faiss

    index = faiss.IndexBinaryMultiHash(256, 16, 16)
    index.nflip = 1
    index.add(all_)
    share = min(1.0, 1e5 / len(all_))
    return _ranges(index, all_[: int(len(all_) * share)], BITS + 1), share


OF_VECTORS = {
    "winnow": own, "blocked products": blocked, "FAISS IndexFlatIP": faiss_flat,
    "FAISS IVF, fp16": faiss_ivf, "SemDeDup's scheme": semdedup,
}  # fmt: skip
OF_HASHES = {
    "winnow": own_hashes,
    "FAISS IndexBinaryFlat": faiss_hashes,
    "FAISS IndexBinaryMultiHash": faiss_multi,
}


def measured(name: str, path: Path, out: Path, of: str) -> dict[str, Any]:
    """Run a method in a process of its own."""
    command = [sys.executable, __file__, "--method", name, "--of", of, str(path), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def one(name: str, of: str, path: Path, out: Path) -> None:
    import faiss  # noqa: F401  # its import is no part of the time

    import pipeline.measure.dedup.neighbours  # noqa: F401

    methods: dict[str, Callable[[np.ndarray], tuple[Pairs, float]]] = (
        OF_VECTORS if of == "vectors" else OF_HASHES
    )
    start = _clocks()
    rows = np.load(path, mmap_mode="r")
    if name != "winnow":  # which reads the file as it needs it; others want all of it as float32
        rows = _unit(rows.astype(np.float32)) if of == "vectors" else np.array(rows)
    loaded = _clocks()
    (left, right), share = methods[name](rows)
    done = _clocks()
    np.save(out, np.stack([left, right]))
    wall, cpu = (
        loaded[i] - start[i] + (done[i] - loaded[i]) / share for i in (0, 1)
    )  # fmt: skip
    print(json.dumps({"wall": wall, "cpu": cpu, "share": share, "peak_gb": _peak() / 2**20}))


def _clocks() -> tuple[float, float]:
    """Wall and CPU time, seconds."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return time.monotonic(), used.ru_utime + used.ru_stime


def _peak() -> int:
    """The greatest resident memory, kB. (`ru_maxrss` would count the parent's, too.)"""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])


def truth(path: Path, of: str, sample: np.ndarray) -> set[tuple[int, int]]:
    """The exact near pairs of the sampled rows."""
    stored = np.load(path, mmap_mode="r")
    found: set[tuple[int, int]] = set()
    asked = stored[sample]
    for start in range(0, len(stored), 16_384):
        block = stored[start : start + 16_384]
        if of == "vectors":
            near = _unit(asked.astype(np.float32)) @ _unit(block.astype(np.float32)).T >= LEAST
        else:
            count = np.zeros((len(asked), len(block)), np.int16)
            for byte in range(32):
                count += np.bitwise_count(asked[:, byte, None] ^ block[None, :, byte])
            near = count <= BITS
        for a, b in np.argwhere(near).tolist():
            x, y = int(sample[a]), b + start
            if x != y:
                found.add((min(x, y), max(x, y)))
    return found


def table(rows: int, of: str, methods: list[str], folder: Path, out: list[str]) -> None:
    path = folder / f"{of}-{rows}.npy"
    (vectors if of == "vectors" else hashes)(rows, path)
    # Copies, so that there is something to find, and what follows each.
    some = np.random.default_rng(1).permutation(rows // COPIES)[: SAMPLE // 2] * COPIES
    sample = np.sort(np.concatenate([some, np.minimum(some + 1, rows - 1)]))
    near, chosen = truth(path, of, sample), set(sample.tolist())
    out.append(f"\n{rows:,} {of}, {len(near):,} pairs of {len(sample):,} rows\n")
    out.append("| method | seconds | CPU seconds | memory, GB | recall | precision |")
    out.append("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name in methods:
        answer = folder / "answer.npy"
        result = measured(name, path, answer, of)
        pairs = [(a, b) for a, b in np.load(answer).T.tolist() if a in chosen or b in chosen]
        hits = sum(pair in near for pair in pairs)
        if result["share"] < 1:
            recall = precision = "–"
        else:
            recall = f"{hits / max(len(near), 1):.4f}"
            precision = f"{hits / max(len(pairs), 1):.4f}"
        part = "" if result["share"] == 1 else f" (from {result['share']:.1%})"
        out.append(
            f"| {name}{part} | {result['wall']:,.0f} | {result['cpu']:,.0f} | "
            f"{result['peak_gb']:.2f} | {recall} | {precision} |"
        )
        print(out[-1], file=sys.stderr)
    path.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="*", default=[100_000, 1_000_000])
    parser.add_argument("--hashes", type=int, nargs="*", default=[100_000, 1_000_000])
    parser.add_argument("--only", nargs="*", help="methods to run; all by default")
    parser.add_argument("--method")
    parser.add_argument("--of")
    parser.add_argument("files", type=Path, nargs="*")
    given = parser.parse_args()
    if given.method:
        return one(given.method, given.of, *given.files)
    out = [f"{os.cpu_count()} cores, {platform.machine()}, {date.today()}"]
    with tempfile.TemporaryDirectory() as folder:
        for of, sizes, methods in (
            ("vectors", given.rows, OF_VECTORS), ("hashes", given.hashes, OF_HASHES),
        ):  # fmt: skip
            names = [name for name in methods if not given.only or name in given.only]
            for rows in sizes:
                table(rows, of, names, Path(folder), out)
    print("\n".join(out))
    return None


if __name__ == "__main__":
    main()
