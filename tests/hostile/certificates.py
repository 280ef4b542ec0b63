"""Certificates made by the openssl program: an authority's, signed ones and self-signed ones."""

import ssl
import subprocess
from pathlib import Path

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


class Authority:
    """A folder with a certificate authority (`ca.pem`) that signs for any name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.pem = folder / "ca.pem"
        _openssl(
            "req", "-x509", *_KEY, "-days", "2", "-subj", "/CN=test authority",
            "-keyout", f"{folder}/ca.key", "-out", f"{self.pem}",
        )  # fmt: skip

    def signs(self, name: str) -> ssl.SSLContext:
        """A server's TLS context, with a certificate for `name` signed by this authority."""
        stem = f"{self._folder}/{name}"
        _openssl(
            "req", *_KEY, "-subj", f"/CN={name}", "-keyout", f"{stem}.key", "-out", f"{stem}.csr"
        )
        Path(f"{stem}.ext").write_text(f"subjectAltName=DNS:{name}\nextendedKeyUsage=serverAuth\n")
        _openssl(
            "x509", "-req", "-days", "2", "-in", f"{stem}.csr", "-extfile", f"{stem}.ext",
            "-CA", f"{self.pem}", "-CAkey", f"{self._folder}/ca.key", "-CAcreateserial",
            "-out", f"{stem}.pem",
        )  # fmt: skip
        return _context(f"{stem}.pem", f"{stem}.key")

    def self_signed(self, name: str, days: int = 2) -> ssl.SSLContext:
        """The same, self-signed; with 0 days it has expired already."""
        stem = f"{self._folder}/self-{name}"
        _openssl(
            "req", "-x509", *_KEY, "-days", str(days), "-subj", f"/CN={name}",
            "-addext", f"subjectAltName=DNS:{name}",
            "-keyout", f"{stem}.key", "-out", f"{stem}.pem",
        )  # fmt: skip
        return _context(f"{stem}.pem", f"{stem}.key")


def _context(certificate: str, key: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context
