"""What a picture costs at least, step by step, on one thread: the libraries' bare calls."""

import hashlib
import socket
import statistics
import threading
import time
import urllib.request
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
import pdqhash
import simplejpeg
import urllib3
from sides import QUALITY

Step = tuple[str, str, float]
"""Who does it (`both`, `img2dataset`, `winnow`), what, microseconds a picture."""


def measure(urls: Sequence[str], width: int, height: int) -> list[Step]:
    """Each step over all pictures, five times over; the median."""
    cv2.setNumThreads(1)
    pool = urllib3.PoolManager(retries=False)

    def get(url: str) -> bytes:
        return pool.request("GET", url, headers={"Accept-Encoding": "identity"}).data

    def get_anew(url: str) -> bytes:
        with urllib.request.urlopen(url, timeout=10) as response:
            return response.read()

    def shrink(pixels: Any, method: int) -> Any:
        return cv2.resize(pixels, (width, height), interpolation=method)

    def bits(pixels: Any) -> Any:
        return pdqhash.compute(cv2.resize(pixels, (64, 64), interpolation=cv2.INTER_AREA))

    def save(pixels: Any) -> bytes:
        return simplejpeg.encode_jpeg(pixels, QUALITY, "RGB", "420")

    steps: list[Step] = []

    def step(who: str, what: str, call: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        results, seconds = [call(item) for item in items], []
        for _ in range(5):
            start = time.thread_time()
            for item in items:
                call(item)
            seconds.append(time.thread_time() - start)
        steps.append((who, what, statistics.median(seconds) / len(items) * 1e6))
        return results

    step("img2dataset", "GET, a new connection each (urllib)", get_anew, urls)
    bodies = step("winnow", "GET, connection kept (urllib3)", get, urls)
    step("both", "sha256", lambda b: hashlib.sha256(b).hexdigest(), bodies)

    arrays = [np.frombuffer(body, np.uint8) for body in bodies]
    whole = step("img2dataset", "decode, full size (OpenCV)", lambda a: cv2.imdecode(a, 1), arrays)
    small = step("img2dataset", "resize by area", lambda p: shrink(p, cv2.INTER_AREA), whole)
    options = [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
    step("img2dataset", "encode (OpenCV)", lambda p: cv2.imencode(".jpg", p, options), small)
    del whole, small

    def half(body: bytes) -> Any:
        tall, wide = simplejpeg.decode_jpeg_header(body)[:2]
        return simplejpeg.decode_jpeg(body, "RGB", min_height=tall // 2, min_width=wide // 2)

    halves = step("winnow", "decode at half size (simplejpeg)", half, bodies)
    small = step("winnow", "resize, bilinear", lambda p: shrink(p, cv2.INTER_LINEAR), halves)
    step("winnow", "encode (simplejpeg)", save, small)
    step("winnow", "PDQ hash: to 64×64 by area, hash", bits, halves)
    there_and_back = _hand_over(bodies, len(save(small[0])))
    steps.append(("winnow", "to a decoding process and back", there_and_back))
    return steps


def _hand_over(bodies: Sequence[bytes], back: int) -> float:
    """CPU microseconds to send a body over a socket pair and the small picture back."""
    here, there = socket.socketpair()

    def answer() -> None:
        for body in bodies:
            _receive(there, len(body))
            there.sendall(bytes(back))

    thread = threading.Thread(target=answer)
    start = time.process_time()
    thread.start()
    for body in bodies:
        here.sendall(body)
        _receive(here, back)
    thread.join()
    here.close()
    there.close()
    return (time.process_time() - start) / len(bodies) * 1e6


def _receive(sock: socket.socket, size: int) -> None:
    view = memoryview(bytearray(size))
    while view:
        view = view[sock.recv_into(view, 0, socket.MSG_WAITALL) :]


def floor(steps: Sequence[Step], side: str) -> float:
    """The sum of a side's steps."""
    return sum(cost for who, _, cost in steps if who in ("both", side))
