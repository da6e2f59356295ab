"""Repair of texts whose characters were damaged on the way: mojibake, control characters, NFC.

ftfy (Speer 2019, doi 10.5281/zenodo.2591652) does the repair, a document at a time. Few documents
need one, so expressions over the whole batch find those that may; the others stay as they are, byte
by byte. The expressions hold exactly what makes ftfy act.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import unicodedata
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from mixcurate.kernels.replace import replace_rows

#: What is never text: controls but tab, line feed and form feed, other line breaks than line feeds,
#: deprecated and annotation controls, byte order marks, and what is invisible inside of words.
_CONTROLS = (
    r"[\x00-\x08\x0b\x0d-\x1f\x7f-\x9f\x{ad}\x{200b}\x{2028}\x{2029}\x{2060}\x{206a}-\x{206f}"
    r"\x{feff}\x{fff9}-\x{fffc}]"
)

#: Soft hyphens and word joiners only tell where lines may be broken. A space of zero width does so
#: too, except in scripts that write no spaces: there it parts words.
_UNSPACED = "\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff"
_INVISIBLE = re.compile(f"[\u00ad\u2060]|(?<![{_UNSPACED}])\u200b(?![{_UNSPACED}])")


@dataclasses.dataclass(frozen=True)
class Repaired:
    """A batch after its repair."""

    text: pa.Array
    """large_string ``[n]``."""
    changed: npt.NDArray[np.bool_]
    """bool ``[n]``: which texts are not what they were."""


def repair(text: pa.Array) -> Repaired:
    """Repair the texts of a batch.

    Mojibake (UTF-8 read as another encoding) is read again, C1 controls become the Windows-1252
    characters they were meant to be, other controls and terminal escapes go, every line break
    becomes a line feed, and the result is in NFC. Quotes, ligatures, wide letters and HTML
    entities stay: they are what the author wrote, or what a page about HTML is about.

    Args:
        text: large_string ``[n]`` without nulls.
    """
    changed = np.zeros(len(text), bool)
    values: dict[int, str] = {}
    for row in np.flatnonzero(_may_need(text)).tolist():
        original = text[row].as_py()
        fixed = repair_text(original)
        if fixed != original:
            changed[row] = True
            values[row] = fixed
    return Repaired(replace_rows(text, values), changed)


def repair_text(text: str) -> str:
    """Repair one text, without a look at whether it needs it."""
    from ftfy import fix_text

    return unicodedata.normalize("NFC", _INVISIBLE.sub("", fix_text(text, _config())))


@functools.cache
def _config() -> Any:
    from ftfy import TextFixerConfig

    return TextFixerConfig(
        unescape_html=False,
        fix_latin_ligatures=False,
        fix_character_width=False,
        uncurl_quotes=False,
        explain=False,
    )


def _may_need(text: pa.Array) -> npt.NDArray[np.bool_]:
    """Which texts ftfy would change, and possibly some more."""
    column = pl.Series(pl.from_arrow(text))
    need: npt.NDArray[np.bool_] = column.str.contains(_CONTROLS).to_numpy().copy()
    wide = np.flatnonzero((column.str.len_bytes() != column.str.len_chars()).to_numpy() & ~need)
    others = column.gather(wide)
    bad = others.str.contains(_mojibake()).to_numpy().copy()
    for place, value in enumerate(others.to_list()):
        bad[place] = bad[place] or not unicodedata.is_normalized("NFC", value)
    need[wide] = bad
    return need


@functools.cache
def _mojibake() -> str:
    """ftfy's own expression for mojibake, as Rust's engine reads it.

    That one ignores spaces in a class too when it ignores them elsewhere. ftfy looks at each line
    by itself, which the flag ``m`` stands for.
    """
    from ftfy.badness import BADNESS_RE

    classes = re.compile(r"\[(?:\\.|[^\]\\])*\]", re.DOTALL)
    pattern = re.sub(r"(?m)^\s*#.*$", "", BADNESS_RE.pattern)
    return "(?mx)" + classes.sub(lambda match: match[0].replace(" ", r"\x20"), pattern)
