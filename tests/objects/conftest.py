"""An S3 server for the session, and what was asked of it."""

import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

SERVER = Path(__file__).with_name("server.py")


@dataclass
class S3:
    """moto's server; `log` has a line for each request so far."""

    log: Path
    fs: Any
    _read: int = 0

    def bucket(self, kind: str = "good") -> str:
        """The URL of a new bucket; `server.py` says which kinds there are."""
        name = f"{kind}-{uuid.uuid4().hex[:8]}"
        self.fs.mkdir(name)
        return f"s3://{name}"

    def asked(self) -> Counter[str]:
        """How many requests of each kind came since the last call."""
        lines = self.log.read_text().splitlines()
        new, self._read = lines[self._read :], len(lines)
        return Counter(map(_kind, new))


def _kind(line: str) -> str:
    method, _, rest = line.partition(" ")
    path, _, query = rest.partition("?")
    if method == "PUT" and path.endswith("/.lock"):
        return "lease"  # once in 15 seconds
    if method == "GET" and "list-type" in query:
        return "LIST"
    return "DELETE" if method == "POST" and query.startswith("delete") else method


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    pytest.importorskip("moto", reason="moto and s3fs are in the extra `dev`")
    fsspec = pytest.importorskip("fsspec")
    pytest.importorskip("s3fs", reason="moto and s3fs are in the extra `dev`")
    log = tmp_path_factory.mktemp("s3") / "requests"
    log.touch()
    server = subprocess.Popen(
        [sys.executable, str(SERVER), "0", str(log)], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    port = int(server.stdout.readline())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        try:
            yield S3(log, fsspec.filesystem("s3", skip_instance_cache=True))
        finally:
            server.terminate()
            server.wait(10)
