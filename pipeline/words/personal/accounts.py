"""Numbers of payment cards and bank accounts, by their form and their check digits."""

import re

Span = tuple[int, int]

_SEPARATOR = "[ \u00a0-]"
_CARD = re.compile(
    rf"(?<![\w.,+/-])(?:\d{{13,19}}|\d{{4}}(?:{_SEPARATOR}\d{{4}}){{3}}(?:{_SEPARATOR}\d{{1,3}})?"
    rf"|\d{{4}}{_SEPARATOR}\d{{6}}{_SEPARATOR}\d{{4,5}})(?![\w/]|[-.,]\d)"
)
_ISSUERS: tuple[tuple[str, frozenset[int]], ...] = (
    (r"4", frozenset({13, 16, 19})),  # Visa
    (r"5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720", frozenset({16})),  # Mastercard
    (r"3[47]", frozenset({15})),  # American Express
    (r"6011|64[4-9]|65", frozenset({16, 19})),  # Discover
    (r"30[0-5]|3095|36|3[89]", frozenset({14, 16, 19})),  # Diners Club
    (r"352[89]|35[3-8]", frozenset({16, 19})),  # JCB
    (r"62|81", frozenset({16, 17, 18, 19})),  # UnionPay
    (r"50[18]|5[68]|6304|67", frozenset({16, 18, 19})),  # Maestro
    (r"220[0-4]", frozenset({16, 19})),  # Mir
    (r"60|82", frozenset({16})),  # RuPay
)
"""First digits (ISO/IEC 7812) and numbers of digits of the issuers."""
_BY_ISSUER = tuple((re.compile(first), lengths) for first, lengths in _ISSUERS)

_IBAN = re.compile(
    rf"(?<![^\W_])[A-Z]{{2}}{_SEPARATOR}?\d\d(?:{_SEPARATOR}?[A-Z0-9]){{11,30}}(?![^\W_])", re.I
)
_IBAN_LENGTHS = {
    code: int(length)
    for length, codes in {
        15: "NO", 16: "BE", 18: "DK FI FO GL NL SD FK", 19: "MK SI", 20: "AT BA EE KZ LT LU MN XK",
        21: "CH CR HR LI LV", 22: "BG BH DE GB GE IE ME RS VA",
        23: "AE GI IL IQ OM SO TL", 24: "AD CZ ES MD PK RO SA SE SK TN VG",
        25: "LY PT ST", 26: "IS TR", 27: "BI DJ FR GR IT MC MR SM",
        28: "AL AZ BY CY DO GT HU LB NI PL SV", 29: "BR EG PS QA UA", 30: "JO KW MU YE",
        31: "MT SC", 32: "LC", 33: "RU",
    }.items()
    for code in codes.split()
}  # fmt: skip
"""Characters of an IBAN by country (ISO 13616; SWIFT's IBAN Registry)."""


def find_cards(text: str) -> list[Span]:
    """Where the text holds card numbers: 13 to 19 digits of an issuer, grouped as on cards or not,
    with Luhn's check digit (ISO/IEC 7812-1). An EAN or GTIN is none."""
    return [m.span() for m in _CARD.finditer(text) if is_card(re.sub(r"\D", "", m.group()))]


def is_card(digits: str) -> bool:
    """Whether an issuer gives card numbers like this one, and its check digit is right."""
    known = any(len(digits) in n and first.match(digits) for first, n in _BY_ISSUER)
    if not known or len(set(digits)) == 1 or (len(digits) < 15 and is_barcode(digits)):
        return False
    return _is_luhn(digits)


def _is_luhn(digits: str) -> bool:
    doubled = (2 * int(d) for d in digits[-2::-2])
    total = sum(int(d) for d in digits[-1::-2]) + sum(d - 9 if d > 9 else d for d in doubled)
    return total % 10 == 0


def is_barcode(digits: str) -> bool:
    """Whether the last of 8, 12, 13 or 14 digits is GS1's check digit (EAN, UPC, GTIN, ISBN-13)."""
    if len(digits) not in (8, 12, 13, 14):
        return False
    *body, check = (int(d) for d in digits)
    weighed = sum(d * (3 if i % 2 == 0 else 1) for i, d in enumerate(reversed(body)))
    return (weighed + check) % 10 == 0


def find_ibans(text: str) -> list[Span]:
    """Where the text holds IBANs: of the country's length, with ISO 7064's check digits."""
    found, place = [], 0
    while (match := _IBAN.search(text, place)) is not None:
        place = _iban_end(match)
        if place:
            found.append((match.start(), place))
        place = place or match.start() + 1
    return found


def _iban_end(match: re.Match[str]) -> int:
    """End of the IBAN that the match starts with, as words may follow; 0 if there is none."""
    places = [i for i, c in enumerate(match.group()) if c.isalnum()]
    length = _IBAN_LENGTHS.get(match.group()[:2].upper(), 99)
    if len(places) < length:
        return 0
    end = places[length - 1] + 1
    if match.group()[end : end + 1].isalnum():
        return 0
    iban = re.sub(r"[\W_]", "", match.group()[:end])
    # Groups that are neither all upper nor all lower case are words.
    if iban.upper() != iban and iban.lower() != iban:
        return 0
    number = "".join(str(int(c, 36)) for c in iban[4:] + iban[:4])
    return match.start() + end if int(number) % 97 == 1 else 0
