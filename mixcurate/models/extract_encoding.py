"""From a page's bytes to its text, whatever its encoding and whatever it says about it.

The order is that of the WHATWG's Encoding and HTML standards: byte order mark, HTTP header, the
page's own declaration, its content. In two cases content comes before a declaration, because
servers declare without looking: what is valid UTF-8 beyond ASCII is UTF-8, and a declared encoding
that cannot decode the page, or gives implausible letters where it is the common default
windows-1252, is passed over.
"""

from __future__ import annotations

import codecs
import re

from resiliparse.parse.encoding import detect_encoding, map_encoding_to_html5

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_DECLARED = re.compile(
    rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([\w:.+-]{1,40})"
    rb"|<\?xml[^>]{0,100}?encoding\s*=\s*[\"']([\w:.+-]{1,40})",
    re.I,
)
_PRESCAN = 4096  # the standard asks for 1024; pages put much before their declaration

#: Codecs that also decode what pages of the encoding hold beyond its standard.
_SUPERSETS = {
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "big5": "big5hkscs",
    "iso8859-11": "cp874",
}
_DEFAULT = "cp1252"
_SAMPLE = 64 << 10
#: Above this share of bytes that cannot be decoded among those beyond ASCII, an encoding is wrong.
_ERRORS = 0.05


def decode(payload: bytes, charset: str | None) -> str:
    """The text of a page, without a byte order mark; what cannot be decoded is U+FFFD.

    Args:
        payload: the page's bytes.
        charset: the encoding that the HTTP header names, if any; it may be anything.
    """
    for mark, codec in _BOMS:
        if payload.startswith(mark):
            return payload[len(mark) :].decode(codec, "replace")
    candidates = [_known(charset), *map(_known, _declarations(payload))]
    shifted = next((name for name in candidates if name == "iso2022_jp"), None)
    if shifted and b"\x1b" in payload:
        return payload.decode(shifted, "replace")
    if wide := _utf16(payload):
        return payload.decode(wide, "replace")
    try:
        return payload.decode("utf-8")
    except UnicodeDecodeError:
        pass
    detected = _detected(payload[:_SAMPLE])
    if _DEFAULT in candidates and _dense(payload) and detected not in (None, _DEFAULT, "utf-8"):
        candidates = [name for name in candidates if name != _DEFAULT]
    for name in [*candidates, detected, _DEFAULT]:
        if name is not None and not name.startswith("utf-16"):
            text = payload.decode(name, "replace")
            if name == _DEFAULT or _fits(text, payload):
                return text
    return payload.decode(_DEFAULT, "replace")


def _known(label: str | None) -> str | None:
    """The codec for a label of the WHATWG's list; None for every other one."""
    if not label or len(label) > 40 or not label.isascii():
        return None
    asked = "iso-8859-1" if label.lower() in ("latin-1", "latin_1") else label  # as Python says
    name = map_encoding_to_html5(asked, fallback_utf8=False)  # in Python's terms
    return _SUPERSETS.get(name, str(name)) if name else None


def _detected(sample: bytes) -> str | None:
    """What the content tells. resiliparse's detector does not know Korean: most of it is Hangul."""
    found = _known(detect_encoding(sample, from_html_meta=False))
    if found in (None, "utf-8") and _dense(sample):
        letters = [c for c in sample.decode("cp949", "replace") if not c.isascii()]
        if sum("\uac00" <= c <= "\ud7a3" for c in letters) * 2 > len(letters):
            return "cp949"
    return found


def _declarations(payload: bytes) -> list[str]:
    """What the page itself declares. That it is UTF-16 cannot be: the declaration was read."""
    found = _DECLARED.search(payload[:_PRESCAN])
    name = (found[1] or found[2]).decode("ascii", "replace") if found else ""
    return ["utf-8" if name.lower().startswith("utf-16") else name] if name else []


def _utf16(payload: bytes) -> str | None:
    """UTF-16 without a mark: markup is ASCII, so that every other byte near its tags is zero."""
    head = payload[:512]
    odd, even = head[1::2].count(0), head[::2].count(0)
    if max(odd, even) * 5 < len(head) or not (b"<\0" in head or b"\0<" in head):
        return None
    return "utf-16-le" if odd > even else "utf-16-be"


def _dense(payload: bytes) -> bool:
    """Whether most bytes beyond ASCII stand in groups; in Western European text they do not."""
    sample = payload[:_SAMPLE]
    groups = [len(group) for group in re.findall(rb"[\x80-\xff]+", sample)]
    return sum(length for length in groups if length > 2) * 2 > sum(groups)


def _fits(text: str, payload: bytes) -> bool:
    """Whether few bytes beyond ASCII could not be decoded."""
    wrong = text.count("\ufffd")
    return not wrong or wrong <= _ERRORS * len(payload.translate(None, bytes(range(128))))
