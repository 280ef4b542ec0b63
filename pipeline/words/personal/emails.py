"""E-mail addresses as people write them (RFC 5321 and 6531), also disguised ones.

Not addresses: handles (`@jane.doe`, Mastodon's `@jane@host.example`), names of files
(`logo@2x.png`), credentials in a URL, and `git@host:path`.
"""

import re
from functools import lru_cache

Span = tuple[int, int]

_LOCAL = r"(?:\"[^\"@\n]{1,62}\"|[\w.+%'’~-]{1,64})"
_BRACKETS = r"\s?[(\[{{<]\s?(?:{})\s?[)\]}}>]\s?"
_DISGUISED_AT = _BRACKETS.format("at|ät|arroba")
_DISGUISED_DOT = _BRACKETS.format("dot|punkt|punto|point|ponto")
_DOT = rf"(?:[.。]|{_DISGUISED_DOT}|\s(?:dot|punkt|punto)\s)"
_ADDRESS = re.compile(
    rf"(?<![\w.@＠/+-])(?P<local>{_LOCAL})"
    rf"(?P<at>\s{{0,2}}[@＠]\s{{0,2}}|{_DISGUISED_AT}|\s(?:at|arroba)\s)"
    rf"(?P<domain>[\w-]{{1,63}}(?:{_DOT}[\w-]{{1,63}}){{0,4}})(?![\w@＠-])",
    re.IGNORECASE,
)
_DOTS = re.compile(_DOT, re.IGNORECASE)
_SIGN = re.compile(r"[@＠]|[(\[{<]\s?(?:at|ät|arroba)\s?[)\]}>]|\s(?:at|arroba)\s", re.IGNORECASE)
_CUE = re.compile(
    r"(?:\b(?:e-?mails?|mails?|mailto|courriel|correo|contact|write to|почта)\b|邮箱|メール|✉|📧)"
    r"\W{0,3}(?:(?:me|us|at|to)\W{1,2}){0,2}$",
    re.IGNORECASE,
)
_PROVIDERS = frozenset(
    [
        "gmail",
        "googlemail",
        "yahoo",
        "ymail",
        "hotmail",
        "outlook",
        "live",
        "msn",
        "icloud",
        "aol",
        "protonmail",
        "proton",
        "gmx",
        "web",
        "mail",
        "yandex",
        "rambler",
        "bk",
        "qq",
        "163",
        "126",
        "naver",
        "hanmail",
        "libero",
        "laposte",
        "orange",
        "wanadoo",
        "free",
        "uol",
        "bol",
        "rediffmail",
        "zoho",
        "t-online",
    ]
)
"""First labels of the domains at which many people have their mailboxes."""
_ALONE = frozenset({"gmail", "googlemail", "hotmail", "outlook", "icloud", "yahoo", "protonmail"})
"""Providers that stand for their domain: `jane@gmail`."""
_FILES = frozenset(
    [
        "png",
        "jpg",
        "jpeg",
        "gif",
        "webp",
        "svg",
        "bmp",
        "tif",
        "tiff",
        "ico",
        "avif",
        "heic",
        "psd",
        "ai",
        "eps",
        "pdf",
        "html",
        "htm",
        "php",
        "asp",
        "aspx",
        "jsp",
        "js",
        "css",
        "json",
        "xml",
        "txt",
        "zip",
        "rar",
        "mov",
        "mp4",
        "mp3",
        "avi",
        "webm",
        "doc",
        "docx",
    ]
)
"""Endings of files; a few of them are top-level domains too."""
_RESERVED = frozenset({"example", "test", "invalid"})
"""Top-level domains that stand for real ones in examples (RFC 2606)."""
_DENSITY = re.compile(r"\dx(?:\.|$)", re.IGNORECASE)


@lru_cache(maxsize=4096)
def is_top_level(name: str) -> bool:
    """Whether IANA lists the top-level domain (as of `validators`), or RFC 2606 reserves it."""
    name = name.lower()
    if name in _RESERVED:
        return True
    if name in _FILES or name.isdigit() or len(name) < 2:
        return False
    if not name.isascii() and name.isalpha():
        return len(name) <= 12  # the few that have such addresses are not worth a stale list
    try:
        name = name.encode("idna").decode("ascii")
    except UnicodeError:
        return False
    from validators import domain as is_domain

    return is_domain(f"a.{name}", consider_tld=True) is True


def find_emails(text: str) -> list[Span]:
    """Where the text holds e-mail addresses: (start, end), in order, none in another.

    `jane (at) example (dot) org` counts. `jane at example dot org` and `jane @ example.org` count
    behind a word such as `mail`, or with a provider that gives people mailboxes, because a place
    is written so too (`Live @ the-club.com`).
    """
    if _SIGN.search(text) is None:
        return []
    found, place = [], 0
    while (match := _ADDRESS.search(text, place)) is not None:
        span = _span(text, match)
        if span is not None:
            found.append(span)
        # A word before a bare `at` may be the local part of an address itself.
        place = span[1] if span else match.end("local")
    return found


def _span(text: str, match: re.Match[str]) -> Span | None:
    sign, labels = match["at"], _DOTS.split(match["domain"])
    end = match.end()
    while len(labels) > 1 and (not is_top_level(labels[-1]) or _is_sentence_end(labels)):
        # `jane@example.org.Next sentence`, `jane@example.org dot dot`
        labels.pop()
        end = (
            match.start("domain")
            + [d.start() for d in _DOTS.finditer(match["domain"])][len(labels) - 1]
        )
    weak = sign[0].isspace() or (sign[-1].isspace() and sign.strip() in "@＠")
    weak = weak and not _is_bracketed(sign)
    known = labels[0].lower() in _PROVIDERS
    if len(labels) == 1:
        alone = labels[0].lower() in _ALONE and end == match.end() and sign.strip() in "@＠"
        return (match.start(), end) if alone else None
    if _DENSITY.match(match["domain"]):
        return None
    before = text[max(0, match.start() - 200) : match.start()]
    if re.search(r"://\S*$", before) and not re.search(r"[?&=]\S*$", before):
        return None
    if match["local"].lower() == "git" and text[end : end + 1] == ":":
        return None
    if weak and not known and not _CUE.search(before):
        return None
    return match.start(), end


def _is_bracketed(sign: str) -> bool:
    return sign.strip()[0] in "([{<"


def _is_sentence_end(labels: list[str]) -> bool:
    """`the-studio.Art of …`: the last word is capital and those before it are not."""
    return labels[-1][:1].isupper() and labels[-1][1:].islower() and labels[-2].islower()
