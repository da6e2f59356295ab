"""Where in an original text the words of its normal form come from.

A search compares normal forms; what it finds is shown, or cut out, in the text as it was written.
"""

from __future__ import annotations

import re
import unicodedata

import pyarrow as pa

from mixcurate.kernels.words import normalise

#: First character and the one after the last.
Place = tuple[int, int]

#: Normal forms do not depend on what is beyond one of these (see ``words.normalise``).
_CHUNK = re.compile(r"[^\t-\r ]+")
_ASCII_WORD = re.compile(r"[A-Za-z0-9]+")

#: Letters, not marks, that may melt into the letter before them (Unicode's NFKC_QC=Maybe).
_MELTING = [(0x1160, 0x11FF), (0x16D63, 0x16D63), (0x16D67, 0x16D68)]


def word_places(text: str) -> list[Place]:
    """The place in ``text`` of each word of its normal form, in order.

    A place has what cannot be told apart: a letter keeps its marks, and both words of ``½`` have
    the same one. So places may be equal, but they never go backwards.
    """
    if text.isascii():
        return [match.span() for match in _ASCII_WORD.finditer(text)]
    chunks = [match.span() for match in _CHUNK.finditer(text)]
    wide = {text[a:b] for a, b in chunks if not text[a:b].isascii()}
    known = _places_in(sorted(wide))
    places: list[Place] = []
    for start, end in chunks:
        chunk = text[start:end]
        inside = known[chunk] if chunk in known else word_places(chunk)
        places += [(start + first, start + last) for first, last in inside]
    return places


def _places_in(chunks: list[str]) -> dict[str, list[Place]]:
    """Words of chunks without blanks, by their smallest parts that have a normal form alone."""
    bounds = [_parts(chunk) for chunk in chunks]
    parts = {
        chunk[a:b]
        for chunk, cuts in zip(chunks, bounds, strict=True)
        for a, b in zip(cuts[:-1], cuts[1:], strict=True)
    }
    forms = {part: form.split(" ") for part, form in _between_letters(sorted(parts)).items()}
    counts = [len(form.split()) for form in _normal(chunks)]
    found = {}
    for chunk, cuts, count in zip(chunks, bounds, counts, strict=True):
        places = _join(chunk, cuts, forms)
        # Unicode's version in Python may differ from the one the words were made with.
        found[chunk] = places if len(places) == count else [(0, len(chunk))] * count
    return found


def _between_letters(parts: list[str]) -> dict[str, str]:
    """Normal form of each part between two letters: it shows on which sides a word goes on."""
    return dict(zip(parts, _normal([f"x{part}x" for part in parts]), strict=True))


def _normal(texts: list[str]) -> list[str]:
    found: list[str] = normalise(pa.array(texts, pa.large_string())).to_pylist()
    return found


def _join(chunk: str, cuts: list[int], forms: dict[str, list[str]]) -> list[Place]:
    """Words of a chunk: a word that goes on at the end of a part is that of the next one."""
    places: list[Place] = []
    is_open = False
    for start, end in zip(cuts[:-1], cuts[1:], strict=True):
        first, *others = forms[chunk[start:end]]
        if first != "x" and is_open:
            places[-1] = (places[-1][0], end)
        elif first != "x":
            places.append((start, end))
        if others:
            is_open = others[-1] != "x"
            places += [(start, end)] * (len(others) - 1 + is_open)
        else:
            is_open = True
    return places


def _parts(chunk: str) -> list[int]:
    """Where a chunk may be cut so that the normal form of the whole is that of its parts."""
    return [0, *(i for i in range(1, len(chunk)) if not _melts(chunk[i])), len(chunk)]


def _melts(char: str) -> bool:
    """Whether a character may become one with the character before it."""
    if char.isascii():
        return False
    first = unicodedata.normalize("NFKD", char)[0]
    if unicodedata.category(first)[0] == "M":
        return True
    return any(low <= ord(first) <= high for low, high in _MELTING)
