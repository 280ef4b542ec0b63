"""Amazon S3 and stores that speak its protocol, through s3fs: one request for each answer.

Writes are conditional (`If-None-Match: *`, `If-Match: <ETag>`), as
docs/decisions/object-stores.md says.
"""

import contextlib
import uuid
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from fsspec.asyn import sync

from pipeline.table.stores import ANY, NEW, Entry, Store, late

PAGE = 1000
"""Objects that one request lists or removes at most."""
_PART = 50 << 20
"""Bytes of a part of a file that is written in parts: S3 takes 10,000 of them."""
_REFUSED = frozenset({"PreconditionFailed", "412", "ConditionalRequestConflict", "409"})
_UNKNOWN = frozenset({"NotImplemented", "501"})
_WRITER = "winnow-writer"
"""The metadata that tells this write from another's."""


_without: set[str] = set()
"""Stores, as fsspec knows them, that do not know conditional writes."""


class S3(Store):
    """Requests to a bucket."""

    @property
    def conditional(self) -> bool:
        return self.fs._fs_token not in _without

    def not_conditional(self) -> None:
        """From here on this store gets no conditional write from this process."""
        _without.add(self.fs._fs_token)

    def _split(self, path: str) -> dict[str, str]:
        bucket, key, _ = self.fs.split_path(path)
        return {"Bucket": bucket, "Key": key}

    def _list(self, prefix: str, pages: int | None = None, **more: Any) -> dict[str, Any] | None:
        """What `ListObjectsV2` gives, all pages together; None if there are more than `pages`."""
        bucket, key, _ = self.fs.split_path(prefix)
        found: dict[str, Any] = {"Contents": [], "CommonPrefixes": []}
        token: dict[str, str] = {}
        done = 0
        while True:
            answer = self.fs.call_s3(
                "list_objects_v2", Bucket=bucket, Prefix=key, MaxKeys=PAGE, **token, **more
            )
            for name, items in found.items():
                items.extend(answer.get(name, ()))
            done += 1
            if not answer.get("IsTruncated"):
                return found
            if done == pages:
                return None
            token = {"ContinuationToken": answer["NextContinuationToken"]}

    def _entries(self, prefix: str, found: dict[str, Any]) -> dict[str, Entry]:
        bucket = self.fs.split_path(prefix)[0]
        return {
            f"{bucket}/{one['Key']}": Entry(int(one["Size"]), one["ETag"], one["LastModified"])
            for one in found["Contents"]
            if not one["Key"].endswith("/")
        }

    def page(self, prefix: str) -> dict[str, Entry] | None:
        found = self._list(prefix, pages=1)
        return None if found is None else self._entries(prefix, found)

    def children(self, folder: str) -> tuple[dict[str, Entry], list[str]]:
        below = f"{folder}/"
        found = self._list(below, Delimiter="/")
        assert found is not None
        files = {p.removeprefix(below): one for p, one in self._entries(below, found).items()}
        prefixes = (one["Prefix"].rstrip("/") for one in found["CommonPrefixes"])
        return files, [prefix.rpartition("/")[2] for prefix in prefixes]

    def find(self, prefix: str) -> dict[str, Entry]:
        found = self._list(prefix)
        assert found is not None
        return self._entries(prefix, found)

    def info(self, path: str) -> Entry | None:
        try:
            found = self.fs.call_s3("head_object", **self._split(path))
        except FileNotFoundError:
            return None
        modified = found["LastModified"]
        now = found["ResponseMetadata"]["HTTPHeaders"].get("date")
        age = (parsedate_to_datetime(now) - modified).total_seconds() if now else None
        return Entry(int(found["ContentLength"]), found["ETag"], modified, age)

    def read(self, path: str) -> tuple[bytes, str | None]:
        async def get() -> tuple[bytes, str]:
            answer = await self.fs._call_s3("get_object", **self._split(path))
            async with answer["Body"] as body:
                return await body.read(), answer["ETag"]

        data, version = sync(self.fs.loop, _again, get)
        return data, version

    def download(self, path: str, target: Path) -> str | None:
        async def stream() -> str:
            answer = await self.fs._call_s3("get_object", **self._split(path))
            async with answer["Body"] as body:
                with target.open("wb") as out:
                    while block := await body.read(1 << 20):
                        out.write(block)
            return str(answer["ETag"])

        return str(sync(self.fs.loop, _again, stream))

    def exists(self, path: str) -> bool:
        found = self._list(path, Delimiter="/")
        assert found is not None
        key = self.fs.split_path(path)[1]
        names = [one["Key"] for one in found["Contents"]]
        return key in names or any(one["Prefix"] == f"{key}/" for one in found["CommonPrefixes"])

    def write(self, path: str, data: bytes | Path, condition: str) -> str | None:
        limits = {ANY: {}, NEW: {"IfNoneMatch": "*"}}.get(condition, {"IfMatch": condition})
        if not self.conditional:
            limits = {}
        writer = uuid.uuid4().hex
        about = {**self._split(path), "Metadata": {_WRITER: writer}}
        try:
            if isinstance(data, Path) and data.stat().st_size >= 2 * _PART:
                return self._put_parts(about, data, limits)
            body = data if isinstance(data, bytes) else data.read_bytes()
            return str(self.fs.call_s3("put_object", **about, Body=body, **limits)["ETag"])
        except OSError as error:
            code = code_of(error)
            if limits and code in _UNKNOWN:
                self.not_conditional()
                return self.write(path, data, ANY)
            if not limits or code not in (*_REFUSED, "NoSuchKey", "404"):
                raise
            # The answer to an earlier try of this same request may have been lost.
            if (version := self._version_of(path, writer)) is None:
                raise late(path) from error
            return version

    def _put_parts(self, about: dict[str, Any], file: Path, limits: dict[str, str]) -> str:
        """A large file in parts, four at a time."""
        place = {name: about[name] for name in ("Bucket", "Key")}
        upload = self.fs.call_s3("create_multipart_upload", **about)["UploadId"]

        def put(number: int) -> dict[str, Any]:
            with file.open("rb") as handle:
                handle.seek((number - 1) * _PART)
                answer = self.fs.call_s3(
                    "upload_part", **place, UploadId=upload, PartNumber=number,
                    Body=handle.read(_PART),
                )  # fmt: skip
            return {"PartNumber": number, "ETag": answer["ETag"]}

        try:
            with ThreadPoolExecutor(4) as pool:
                parts = list(pool.map(put, range(1, -(-file.stat().st_size // _PART) + 1)))
            answer = self.fs.call_s3(
                "complete_multipart_upload", **place, UploadId=upload,
                MultipartUpload={"Parts": parts}, **limits,
            )  # fmt: skip
        except BaseException:
            with contextlib.suppress(OSError):
                self.fs.call_s3("abort_multipart_upload", **place, UploadId=upload)
            raise
        return str(answer["ETag"])

    def _version_of(self, path: str, writer: str) -> str | None:
        """The object's version if this writer wrote it."""
        try:
            found = self.fs.call_s3("head_object", **self._split(path))
        except FileNotFoundError:
            return None
        return found["ETag"] if found.get("Metadata", {}).get(_WRITER) == writer else None

    def remove(self, files: list[str], folders: list[str]) -> None:
        for start in range(0, len(files), PAGE):
            some = [self._split(path) for path in files[start : start + PAGE]]
            if len(some) == 1:
                self.fs.call_s3("delete_object", **some[0])
                continue
            keys = [{"Key": one["Key"]} for one in some]
            answer = self.fs.call_s3(
                "delete_objects", Bucket=some[0]["Bucket"], Delete={"Objects": keys, "Quiet": True}
            )
            if errors := answer.get("Errors"):
                raise OSError(f"{errors[0]['Key']} cannot be removed: {errors[0].get('Message')}")


def code_of(error: BaseException) -> str:
    """The store's code for an error, or ""."""
    found = getattr(error.__cause__ or error, "response", None) or {}
    return str(found.get("Error", {}).get("Code", ""))


async def _again(work: Any) -> Any:
    """The result of `work`; once more if the connection was lost while the body was read."""
    from s3fs.core import S3_RETRYABLE_ERRORS

    for last in (False, False, True):
        try:
            return await work()
        except (*S3_RETRYABLE_ERRORS, ConnectionError, TimeoutError):
            if last:
                raise
    return None
