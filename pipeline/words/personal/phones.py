"""Telephone numbers: which digits can be one, and which are one by a country's numbering plan."""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

from pipeline.words.personal.accounts import is_barcode
from pipeline.words.personal.regions import REGIONS

if TYPE_CHECKING:
    from phonenumbers import PhoneNumberMatch

Span = tuple[int, int]

_GAP = "[ \u00a0\u2009.\\-\u2010-\u2015−/()（）·]"
_RUN = re.compile(rf"(?:[+＋]{_GAP}?|\()?\(?\d(?:{_GAP}{{0,3}}\d){{6,24}}")
"""Digits with what people put between those of a number."""
_CUE = re.compile(
    r"(?:\b(?:(?:tel|tél|tlf|telefono?|teléfono|telefone|téléphone|telephone|telefoon|puh|call|dial|"
    r"fax|whats\s?app|hotline|handy|viber|тел|телефон|звоните|llamar?|ligue|appelez|chiama)"
    r"|(?:phone|ph|mobile|mob|cell|contact|text|sms|m|t|p|f|zap)(?=\W{0,2}[:.,#：]|\s?(?:no|nr|num"
    r"|number|us|me|at)\b))\b|[☎☏📞📱✆]|电话|電話|手机|전화|โทร|فون|هاتف|फ़ोन|फोन)"
    r"(?:[\s.,:：;#(\-–|️]{0,6}(?:us|me|now|today|at|on|no|nr|num|number|toll|free|or|text|le|au|al)\b)"
    r"{0,4}[\s.,:：;#(\-–|️]{0,6}$",
    re.IGNORECASE,
)
"""Words before a number that say what it is."""
_LABEL = re.compile(
    r"(?:\b(?:isbn|issn|ean|upc|gtin|asin|sku|mpn|oem|vin|doi|cas|imei|ref|réf|reference|item|art|"
    r"article|artikel|model|modell|part|lot|id|no|nr|num|number|nº|n°|serial|order|bestell|code|"
    r"barcode|patent|cat|catalog(?:ue)?|inv|stock|image|img|photo|picture|file|product|p/n|s/n|"
    r"accession|job|batch|case|permit|pat|iso|din|lat|lon|long|lng|gps|version|build|figure|"
    r"nike|style|colou?r|kat|shutterstock|istock|alamy|getty|dreamstime|depositphotos|fotolia|"
    r"st|nn|inventory|ticket|invoice|account|acct|zip)\b|[#№@$€£¥₹₽=&?%*]|\b(?:usd|eur|gbp|chf|"
    r"cad|aud|rs|inr|sek|nok|pln|rub|brl))[\s.:;#(\-–°]{0,3}$",
    re.IGNORECASE,
)
"""Words and signs before a number that make it something else: an article, a price, a place."""
_UNIT = re.compile(
    r"\s?(?:(?:px|pixels?|mm|cm|km|m²|m2|kg|g|mg|ml|mi|miles|ft|inch(?:es)?|sq|usd|eur|gbp|chf|cad|"
    r"aud|inr|sek|nok|dkk|pln|rub|brl|jpy|kr|zł|руб|dollars?|euros?|pounds?|yen|rupees|p\.?p\.?m|"
    r"dpi|ppi|mb|gb|tb|kb|mah|hz|khz|mhz|ghz|rpm|views?|people|visitors|inhabitants|followers|"
    r"votes|years?|bce?|ad|ce|million|mio|mrd|x|hp|bhp|ps|kw|kwh|mph|°|tons?|pieces|pcs|stück|"
    r"t|einwohner|habitants|habitantes)\b|[€$£¥₹₽%°×′″\"*])",
    re.IGNORECASE,
)
"""What follows a quantity."""
_GLUED = re.compile(r"[^\W]$|[/\\~]$|\d[,.:'’]$|\d\s?[x×*:@]\s?$", re.IGNORECASE)
"""What before a run makes it the rest of a name, a path, a longer number or a size."""
_FOLLOWS = re.compile(r"[\w\\@]|[,.:'’]\d|\s?[x×*]\s?\d|-[a-z\d]|/[a-z\d]", re.IGNORECASE)
"""What behind a run makes it the start of one."""
_DATE = re.compile(
    r"(?:1\d|20)\d\d([-./ ])(?:0?[1-9]|1[0-2])\1(?:0?[1-9]|[12]\d|3[01])(?!\d)"
    r"|(?:0?[1-9]|[12]\d|3[01])([-./ ])(?:0?[1-9]|[12]\d|3[01])\2(?:1\d|20)\d\d(?!\d)"
    r"|(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?!\d)"
)
_YEAR = re.compile(r"1\d{3}|20\d\d")
_YEARS = re.compile(r"(?<!\d)(?:1\d|20)\d\d\s?[-–/]\s?(?:1\d|20)\d\d(?!\d)")
_THOUSANDS = re.compile(r"[1-9]\d{0,1}(?:([ .\u00a0\u2009])\d{3})(?:\1\d{3})+")
_DECIMAL = re.compile(r"-?\d{1,4}\.\d+(?:[ -]+-?\d{1,4}\.\d+)*")
_ADDRESS = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}")


def plausible(text: str) -> list[tuple[Span, bool]]:
    """Digits that could be a telephone number: (start, end), and whether a word before says so.

    7 to 15 of them (E.164), and nothing that has the form of a date, years, a price, a quantity, a
    size, coordinates, an IP address, a barcode, an ISBN or an article's number.
    """
    found = []
    for match in _RUN.finditer(text):
        before = text[max(0, match.start() - 40) : match.start()]
        cued = _CUE.search(before) is not None
        if not is_other(match.group(), before, text[match.end() : match.end() + 20], cued):
            found.append((match.span(), cued))
    return found


def is_other(run: str, before: str, after: str, cued: bool) -> bool:
    """Whether the digits, between these characters, are known to be something else."""
    digits, groups = re.sub(r"\D", "", run), re.findall(r"\d+", run)
    international = run[0] in "+＋" and len(digits) >= 8
    if not 7 <= len(digits) <= 20 or len(set(digits)) == 1:
        return True
    if _FOLLOWS.match(after) or (not cued and not international and _GLUED.search(before)):
        return True
    if international:
        return False
    if any(pattern.fullmatch(run) for pattern in (_DECIMAL, _ADDRESS)) or _DATE.match(run):
        return True
    if all(_YEAR.fullmatch(group) for group in groups):
        return True  # years of a life, or the sides of a screen
    if cued:
        return False
    if _YEARS.search(run) or _is_series(groups) or set(digits) <= {"0", "1"}:
        return True
    if _LABEL.search(before) or _UNIT.match(after) or _THOUSANDS.fullmatch(run):
        return True
    if len(groups) > 1 and (len(groups[-1]) == 1 or _YEAR.fullmatch(groups[0])):
        return True  # ISBN-10 and -13 end with one digit; case and article numbers start so
    if len(groups) > 1 and digits[0] != "0" and len(groups[-2]) > 5 and len(groups[-1]) < 4:
        return True  # 921826-001: an article and its variant
    if len(groups) > 5 or any(len(group) == 1 for group in groups[1:]):
        return True  # scores, tables, numbers for children
    if any(len(group) > 11 for group in groups):
        return True  # no number is written so without its country code
    if len(groups) == 1:
        return is_barcode(digits) or _is_isbn(digits)
    return digits[:3] in {"978", "979"} and is_barcode(digits)


def _is_isbn(digits: str) -> bool:
    """Whether the last of ten digits is the check digit of an ISBN-10 (ISO 2108:1992)."""
    return len(digits) == 10 and sum((10 - i) * int(d) for i, d in enumerate(digits)) % 11 == 0


def _is_series(groups: Sequence[str]) -> bool:
    """Whether numbers go up or down by the same step, as sizes in a shop do."""
    values = [int(group) for group in groups]
    steps = {after - before for before, after in pairwise(values)}
    return len(groups) > 2 and len(steps) == 1 and groups[0][0] != "0"


def find_phones(text: str, regions: Sequence[str] = REGIONS) -> list[Span]:
    """Where the text holds telephone numbers: (start, end), in order, none in another.

    A number counts with a country code behind `+` or `00`; behind a word such as `tel` or `call`;
    and otherwise if it is one in the numbering plan of one of the regions, in groups as they are
    written there (`phonenumbers`, strict grouping). Without groups it needs a leading 0.
    """
    found = []
    for (start, end), cued in plausible(text):
        run = text[start:end]
        if cued and len(re.sub(r"\D", "", run)) <= 15:
            found.append((start, end))
        else:
            found += [(start + a, start + b) for a, b in _by_plan(run, tuple(regions))]
    return found


@lru_cache(maxsize=8192)
def _by_plan(run: str, regions: tuple[str, ...]) -> tuple[Span, ...]:
    """The numbers in a run of digits, by the plan of the first region that has any."""
    from phonenumbers import Leniency, PhoneNumberMatcher

    if run[0] in "+＋":
        return _spans(PhoneNumberMatcher(run, None, Leniency.VALID))
    if run.startswith("00"):
        found = _spans(PhoneNumberMatcher(f"+{run[2:].lstrip()}", None, Leniency.VALID))
        if found:
            return ((0, len(run)),)
    if run.isdigit() and not (run[0] == "0" and len(run) in (10, 11)):
        return ()
    for region in regions:
        found = _spans(PhoneNumberMatcher(run, region, Leniency.STRICT_GROUPING))
        if found:
            return found
    return ()


def _spans(matches: Iterable["PhoneNumberMatch"]) -> tuple[Span, ...]:
    return tuple((match.start, match.end) for match in matches)
