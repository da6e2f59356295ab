"""What personal data looks like: an expression for each kind, and a check of what it finds.

Expressions propose and checks decide, because no expression tells an address of the internet from a
version number. The starting points are those of datatrove's PII formatter (emails and public IPs,
used for FineWeb, arXiv 2406.17557, section 3), Dolma's taggers (arXiv 2402.00159, section 3.2) and,
for keys, the formats that their issuers publish for secret scanning.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator

Span = tuple[int, int]

#: Per kind an expression for Rust's engine that is true wherever the kind may occur.
SCREENS = {
    "keys": r"PRIVATE KEY-----|A[KS]IA[0-9A-Z]{16}|gh[pousr]_\w{36}|github_pat_\w{22}|glpat-"
    r"|xox[abeoprs]-\d|hooks\.slack\.com/services/T|AIza[\w-]{35}|[sr]k_live_|T3BlbkFJ|sk-ant-"
    r"|hf_[A-Za-z]{34}|npm_[A-Za-z0-9]{36}|pypi-AgEI|SG\.[\w-]{22}\.|eyJ[\w-]{10,}\.eyJ",
    "emails": r"[\w%+-]@[A-Za-z0-9]",
    "ips": r"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]|[23][0-9A-Fa-f]{3}:[0-9A-Fa-f]{0,4}:",
    "ibans": r"[A-Z]{2}[0-9]{2} ?[A-Z0-9]{4} ?[A-Z0-9]{4} ?[A-Z0-9]{3}",
    "cards": r"\b[3-6][0-9]{3}[ -]?[0-9]{4}[ -]?[0-9]{2}",
}

_EMAIL = re.compile(
    r"(?<![\w.%+/@-])[A-Za-z0-9_][\w.%+'-]{0,63}+(?<=[\w+-])@"
    r"((?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,8}(?:[a-z]{2,24}|[A-Z]{2,24}))(?![\w@-])",
    re.ASCII,
)
#: Not a domain but a file: pictures for fine screens are called ``logo@2x.png``.
_FILES = frozenset(["css", "gif", "html", "jpeg", "jpg", "js", "json", "pdf", "png", "svg", "webp"])
#: Domains that belong to no one (RFC 2606).
_NOBODY = re.compile(r"(?:^|\.)example\.(?:com|org|net)$|\.(?:example|invalid|test|localhost)$")

_IPV4 = re.compile(r"(?<![\w.,-])(?:\d{1,3}\.){3}\d{1,3}(?![\w-]|[.,]\d)", re.ASCII)
_IPV6 = re.compile(
    r"(?<![\w:.])[23][0-9A-Fa-f]{3}:(?:[0-9A-Fa-f]{0,4}:){1,6}[0-9A-Fa-f]{0,4}(?![\w:])", re.ASCII
)
#: What stands before four numbers that are no address.
_VERSION = re.compile(
    r"(?:\b(?:v|ver|vers|version|release[ds]?|rev|revision|build|firmware|driver|software|update"
    r"|upgrade[ds]?|patch|kernel|section|sec|chapter|article|paragraph|para|clause|rule|fig|figure"
    r"|table|step|item|appendix|part|no|oid)s?\.?|§+|[A-Za-z]/)[\s:(=#-]{0,3}(?:to |is )?$",
    re.IGNORECASE,
)
_ADDRESS = re.compile(
    r"\b(?:ip|ips|ipv4|dns|address|addr|host|server|ping|gateway|nameserver)\b", re.I
)

_TOKENS = re.compile(
    r"(?<![A-Za-z0-9])(?:(?:AKIA|ASIA)[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{36,255}"
    r"|github_pat_[A-Za-z0-9_]{22,255}|glpat-[A-Za-z0-9_-]{20,64}|xox[abeoprs]-[0-9][0-9A-Za-z-]{20,255}"
    r"|hooks\.slack\.com/services/T[A-Z0-9]{6,}/B[A-Z0-9]{6,}/[A-Za-z0-9]{20,}"
    r"|AIza[A-Za-z0-9_-]{35}|[sr]k_live_[0-9A-Za-z]{16,255}|sk-[A-Za-z0-9_-]{10,}T3BlbkFJ[A-Za-z0-9_-]{10,}"
    r"|sk-ant-[A-Za-z0-9_-]{40,255}|hf_[A-Za-z]{34}|npm_[A-Za-z0-9]{36}|pypi-AgEI[A-Za-z0-9_-]{50,}"
    r"|SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}"
    r"|eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,})(?![A-Za-z0-9])"
)
_PRIVATE_KEY = re.compile(
    r"-----BEGIN ([A-Z0-9 ]{0,30})PRIVATE KEY-----[^-]{64,16000}-----END \1PRIVATE KEY-----"
)
#: A placeholder has few different characters, such as ``ghp_xxxx``.
_DIFFERENT = 10

_CARD = re.compile(r"(?<![\w.,+/=-])\d(?:[ -]?\d){12,18}(?![\w-]|[.,]\d)", re.ASCII)
#: How issuers write them (ISO/IEC 7812): groups of four, and 4-6-5 for American Express.
_CARD_FORMS = re.compile(r"\d{13,16}|\d{4}([ -])\d{4}\1\d{4}\1\d{4}|3[47]\d\d([ -])\d{6}\2\d{5}")
_ISSUERS = re.compile(
    r"4\d{12}(?:\d{3})?|5[1-5]\d{14}|2(?:2[3-9]|[3-6]\d|7[01])\d{13}|3[47]\d{13}|6(?:011|5\d\d)\d{12}"
)

_IBAN = re.compile(
    r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?![A-Za-z0-9])"
)
#: Characters of an IBAN by country (SWIFT IBAN registry, release 98).
_IBAN_LENGTHS = {
    **dict.fromkeys(("NO",), 15),
    **dict.fromkeys(("BE",), 16),
    **dict.fromkeys(("DK", "FI", "NL"), 18),
    **dict.fromkeys(("MK", "SI"), 19),
    **dict.fromkeys(("AT", "BA", "EE", "KZ", "LT", "LU"), 20),
    **dict.fromkeys(("CH", "HR", "LI", "LV"), 21),
    **dict.fromkeys(("BG", "BH", "CR", "DE", "GB", "GE", "IE", "ME", "RS"), 22),
    **dict.fromkeys(("AE", "GI", "IL"), 23),
    **dict.fromkeys(("AD", "CZ", "ES", "MD", "PK", "RO", "SA", "SE", "SK", "TN", "VG"), 24),
    **dict.fromkeys(("PT",), 25),
    **dict.fromkeys(("IS", "TR"), 26),
    **dict.fromkeys(("FR", "GR", "IT", "MC", "SM"), 27),
    **dict.fromkeys(("AL", "AZ", "CY", "DO", "GT", "HU", "LB", "PL"), 28),
    **dict.fromkeys(("BR", "PS", "QA", "UA"), 29),
    **dict.fromkeys(("JO", "KW", "MU"), 30),
    "MT": 31,
}


def find_emails(text: str) -> Iterator[Span]:
    """Addresses of people; not ``git@host``, file names, or domains that belong to no one."""
    for match in _EMAIL.finditer(text):
        domain = match[1].lower()
        if domain.rpartition(".")[2] in _FILES or _NOBODY.search(domain):
            continue
        if not match[0].lower().startswith("git@") and ".." not in match[0]:
            yield match.span()


def find_ips(text: str) -> Iterator[Span]:
    """Addresses that are routed publicly; not versions, section numbers and reserved ones."""
    for match in _IPV4.finditer(text):
        before = text[max(0, match.start() - 40) : match.start()]
        small = all(len(number) == 1 for number in match[0].split("."))
        if _VERSION.search(before) or (small and not _ADDRESS.search(before)):
            continue
        if _is_public(match[0]):
            yield match.span()
    for match in _IPV6.finditer(text):
        if match[0].count(":") >= 3 and _is_public(match[0]):
            yield match.span()


def find_keys(text: str) -> Iterator[Span]:
    """Private keys and access tokens by their published formats; not placeholders."""
    for match in _PRIVATE_KEY.finditer(text):
        yield match.span()
    for match in _TOKENS.finditer(text):
        if len(set(match[0])) >= _DIFFERENT and not match[0].endswith("EXAMPLE"):
            yield match.span()


def find_cards(text: str) -> Iterator[Span]:
    """Numbers of payment cards: an issuer's prefix and length, a usual form, the check digit."""
    for match in _CARD.finditer(text):
        digits = re.sub(r"\D", "", match[0])
        if _CARD_FORMS.fullmatch(match[0]) and _ISSUERS.fullmatch(digits) and len(set(digits)) > 2:
            doubled = [int(d) * (1 + i % 2) for i, d in enumerate(reversed(digits))]
            if sum(d - 9 * (d > 9) for d in doubled) % 10 == 0:
                yield match.span()


def find_ibans(text: str) -> Iterator[Span]:
    """Bank accounts: the country's length, and the check digits of ISO 13616."""
    for match in _IBAN.finditer(text):
        length = _IBAN_LENGTHS.get(match[0][:2], 0)
        places = [i for i, char in enumerate(match[0]) if char != " "]
        if not 0 < length <= len(places):
            continue
        end = places[length - 1] + 1  # a word in capitals may follow
        plain = match[0][:end].replace(" ", "")
        number = "".join(str(int(char, 36)) for char in plain[4:] + plain[:4])
        if int(number) % 97 == 1 and not match[0][end : end + 1].strip():
            yield match.start(), match.start() + end


def _is_public(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_global
    except ValueError:
        return False


#: All but phone numbers, in the order in which they are masked.
FINDERS: dict[str, Callable[[str], Iterator[Span]]] = {
    "keys": find_keys,
    "emails": find_emails,
    "ips": find_ips,
    "ibans": find_ibans,
    "cards": find_cards,
}
