"""Whether a Dask scheduler listens at an address; a line for everything else that may answer.

A scheduler greets first: 8 bytes with the greeting's length, then the greeting. Dask's client would
read any other answer as a length too, and wait for the rest of a greeting that never comes.
"""

import socket
import ssl
import struct
from typing import Any

from distributed import Security
from distributed.comm.addressing import parse_address, parse_host_port

from pipeline.words.errors import InputError

_CONNECT, _GREETING, _HANDSHAKE = 5.0, 6.0, 3.0
"""Seconds to wait for a connection, for the greeting, and for a handshake of TLS."""
_LONGEST = 1 << 20
"""Bytes. What other protocols send first would be a far longer greeting."""
_CERTIFICATES = "name its certificates in Dask's configuration (`distributed.comm.tls`)"


def refusal(place: str, what: str, step: str) -> InputError:
    """The error for a `cluster.scheduler` that cannot be used: what is wrong, and what to do."""
    return InputError(
        f"cluster.scheduler: {place}: {what}; {step}, or leave `cluster.scheduler` out to run here"
    )


def one_line(error: BaseException) -> str:
    """An error's class and text."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}".removesuffix(": ")


def probe(place: str, address: str) -> None:
    """InputError if no Dask scheduler listens at the address, or if it and Dask's configuration
    here do not agree about TLS. `place` is what the job calls it."""
    try:
        scheme, location = parse_address(address)
        host, port = parse_host_port(location)
        security = Security().get_connection_args("client")
    except (ValueError, OSError) as error:
        raise refusal(
            place, f"no usable address ({one_line(error)})", "write `tcp://host:port`"
        ) from error
    if scheme not in ("tcp", "tls"):
        return
    context = security.get("ssl_context")
    if scheme == "tls" and context is None:
        raise refusal(place, "TLS needs certificates", _CERTIFICATES)
    if scheme == "tcp" and security["require_encryption"]:
        raise refusal(
            place, "Dask's configuration here demands encryption, which tcp:// has not",
            "name a scheduler at tls://",
        )  # fmt: skip
    try:
        connection = socket.create_connection((host, port), _CONNECT)
    except OSError as error:
        raise InputError(
            f"cluster.scheduler: no Dask scheduler answers at {place}; start one, or leave "
            "`cluster.scheduler` out to run here"
        ) from error
    with connection:
        what = _other_protocol(connection, context if scheme == "tls" else None, place, host)
    if what is None:
        return
    if scheme == "tcp" and _speaks_tls(host, port):
        raise refusal(place, "what listens there speaks TLS", f"write tls:// and {_CERTIFICATES}")
    raise refusal(place, f"what listens there is no Dask scheduler: {what}", "start one")


def _other_protocol(
    connection: socket.socket, context: ssl.SSLContext | None, place: str, host: str
) -> str | None:
    """What the other side does instead of greeting; None if it greets."""
    connection.settimeout(_GREETING)
    try:
        if context is not None:
            connection = context.wrap_socket(connection, server_hostname=host)
        length = _read_length(connection)
    except ssl.SSLError as error:
        if error.reason == "WRONG_VERSION_NUMBER":
            raise refusal(
                place, "what listens there does not speak TLS", "write tcp:// for a scheduler that "
                "does not",
            ) from error  # fmt: skip
        raise refusal(place, f"TLS fails ({one_line(error)})", _CERTIFICATES) from error
    except TimeoutError:
        return "it says nothing"
    except OSError:
        return "it breaks the connection off"
    if length is None:
        return "it closes the connection"
    return None if 0 < length < _LONGEST else "it speaks another protocol"


def _read_length(connection: socket.socket) -> int | None:
    """The length of the greeting; None if there is none. TimeoutError if less than that comes."""
    read = b""
    while len(read) < 8:
        more = connection.recv(8 - len(read))
        if not more:
            return None
        read += more
    length: int = struct.unpack("Q", read)[0]
    return length


def _speaks_tls(host: str, port: int) -> bool:
    context: Any = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection((host, port), _CONNECT) as connection:
            connection.settimeout(_HANDSHAKE)
            with context.wrap_socket(connection, server_hostname=host):
                return True
    except OSError:
        return False
