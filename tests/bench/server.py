"""Serves a folder of pictures from memory on loopback: `python server.py FOLDER`.

One process, one thread, epoll, answers made beforehand: it must not be the bottleneck, and its CPU
time must be its own. Prints its port, and ends when its standard input does. HTTP/1.1 with
keep-alive; `Connection: close` is honoured; whatever is no picture (`/robots.txt` too) is 404.
`/_stats` says what was served, and when, since it was last asked.
"""

import contextlib
import json
import os
import select
import socket
import sys
import time
from pathlib import Path

_GONE = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
_SENDING = 1 << 20


class Server:
    """Requests are GETs without a body, and not pipelined: that is what both sides send."""

    def __init__(self, folder: Path) -> None:
        self._answers = {}
        for path in folder.glob("*.jpg"):
            body = path.read_bytes()
            head = f"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: {len(body)}"
            self._answers[f"/{path.name}".encode()] = f"{head}\r\n\r\n".encode() + body
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._listener.setblocking(False)
        self.port = self._listener.getsockname()[1]
        self._poll = select.epoll()
        self._clients: dict[int, socket.socket] = {}
        self._asked: dict[int, bytes] = {}
        self._left: dict[int, tuple[memoryview, bool]] = {}
        self._reset()

    def _reset(self) -> None:
        self._times: list[float] = []
        self._others = self._connections = 0
        self._cpu = time.process_time()

    def serve(self) -> None:
        """Until standard input ends."""
        listener, control = self._listener.fileno(), sys.stdin.fileno()
        self._poll.register(listener, select.EPOLLIN)
        self._poll.register(control, select.EPOLLIN)
        while True:
            for number, event in self._poll.poll():
                if number == listener:
                    self._accept()
                elif number == control:
                    if not os.read(control, 4096):
                        return
                else:
                    self._attend(number, event)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except BlockingIOError:
                return
            client.setblocking(False)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SENDING)
            number = client.fileno()
            self._clients[number], self._asked[number] = client, b""
            self._poll.register(number, select.EPOLLIN)
            self._connections += 1

    def _attend(self, number: int, event: int) -> None:
        try:
            if number in self._left:
                self._send(number)
            elif event & select.EPOLLIN:
                self._receive(number)
            else:
                self._drop(number)
        except ConnectionError:
            self._drop(number)

    def _receive(self, number: int) -> None:
        data = self._clients[number].recv(1 << 14)
        if not data:
            self._drop(number)
            return
        asked = self._asked[number] + data
        if not asked.endswith(b"\r\n\r\n"):
            self._asked[number] = asked
            return
        self._asked[number] = b""
        path = asked.split(b" ", 2)[1]
        answer = self._answers.get(path)
        if answer is not None:
            self._times.append(time.time())
        elif path == b"/_stats":
            answer = self._tell()
        else:
            answer = _GONE
            self._others += 1
        self._left[number] = memoryview(answer), b"\nconnection: close" in asked.lower()
        self._send(number)

    def _tell(self) -> bytes:
        stats = {
            "times": self._times, "others": self._others, "connections": self._connections,
            "cpu": time.process_time() - self._cpu,
        }  # fmt: skip
        body = json.dumps(stats).encode()
        self._reset()
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body

    def _send(self, number: int) -> None:
        rest, close = self._left[number]
        with contextlib.suppress(BlockingIOError):
            rest = rest[self._clients[number].send(rest) :]
        if rest:
            self._left[number] = rest, close
            self._poll.modify(number, select.EPOLLOUT)
            return
        del self._left[number]
        if close:
            self._drop(number)
        else:
            self._poll.modify(number, select.EPOLLIN)

    def _drop(self, number: int) -> None:
        self._poll.unregister(number)
        self._clients.pop(number).close()
        self._asked.pop(number, None)
        self._left.pop(number, None)


if __name__ == "__main__":
    server = Server(Path(sys.argv[1]))
    print(server.port, flush=True)
    server.serve()
