"""A DNS server on loopback that counts its queries and can change its answers."""

import socket
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

Answer = Callable[[dns.message.Message], bytes | None]
"""The bytes of an answer to a query; None: no answer."""


class HostileDns:
    """Answers by name: the first query gets the first answer; the last answer is repeated.

    Use as a context. `questions` counts (name, type), e.g. ("a.test", "A"); `otherwise` answers
    for all other names.
    """

    def __init__(self, names: Mapping[str, Sequence[Answer]], otherwise: Answer) -> None:
        self._names = dict(names)
        self._otherwise = otherwise
        self.questions: Counter[tuple[str, str]] = Counter()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"

    def __enter__(self) -> "HostileDns":
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", self._socket.getsockname())
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            wire, peer = self._socket.recvfrom(65_535)
            if not wire:
                return
            query = dns.message.from_wire(wire)
            reply = self._answer(query)
            if reply is not None:
                self._socket.sendto(reply, peer)

    def _answer(self, query: dns.message.Message) -> bytes | None:
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(question.rdtype)
        self.questions[name, kind] += 1
        answers = self._names.get(name, [self._otherwise])
        return answers[min(self.questions[name, kind], len(answers)) - 1](query)


def addresses(*texts: str, ttl: int = 60) -> Answer:
    """These addresses, IPv4 ones to an A question and IPv6 ones to an AAAA question."""

    def answer(query: dns.message.Message) -> bytes:
        question, reply = query.question[0], dns.message.make_response(query)
        wanted = {dns.rdatatype.A: False, dns.rdatatype.AAAA: True}.get(question.rdtype)
        if found := [text for text in texts if (":" in text) == wanted]:
            records = dns.rrset.from_text(question.name, ttl, "IN", question.rdtype, *found)
            reply.answer.append(records)
        return reply.to_wire()

    return answer


def alias(target: str, *texts: str, ttl: int = 60) -> Answer:
    """A CNAME, and the target's addresses (IPv4)."""

    def answer(query: dns.message.Message) -> bytes:
        name = query.question[0].name
        reply = dns.message.make_response(query)
        reply.answer.append(dns.rrset.from_text(name, ttl, "IN", "CNAME", f"{target}."))
        if texts and query.question[0].rdtype == dns.rdatatype.A:
            reply.answer.append(dns.rrset.from_text(f"{target}.", ttl, "IN", "A", *texts))
        return reply.to_wire()

    return answer


def refused(code: str) -> Answer:
    """An answer with only a code: `NXDOMAIN`, `SERVFAIL`, `REFUSED`."""

    def answer(query: dns.message.Message) -> bytes:
        reply = dns.message.make_response(query)
        reply.set_rcode(dns.rcode.from_text(code))
        return reply.to_wire()

    return answer


def truncated(query: dns.message.Message) -> bytes:
    """A truncated answer, which asks for a query by TCP, where no server listens."""
    reply = dns.message.make_response(query)
    reply.flags |= dns.flags.TC
    return reply.to_wire()


def of_another_question(query: dns.message.Message) -> bytes:
    """The right id, but the answer to another question."""
    other = dns.message.make_query("elsewhere.test", query.question[0].rdtype)
    other.id = query.id
    return addresses("127.0.0.1")(other) or b""


def silent(query: dns.message.Message) -> None:
    return None


def garbage(query: dns.message.Message) -> bytes:
    return b"\xff" * 40
