"""What C4 and its kind do to the lines of one text, in plain Python: what the kernel must equal."""

from __future__ import annotations

import re

from mixcurate.kernels.cleaning import LineRule
from tests.kernels.reference_signals import TERMINAL, TERMINAL_UNSPACED, WHITESPACE, split

#: Ranges of the scripts without spaces; the rest of Han (astral) does not occur in what is tested.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u3041-\u30ff\u4e00-\u9fff]"
)
_UNPUNCTUATED = re.compile("[\u0e01-\u0eff]")
_POLICY = [
    *("terms of use", "privacy policy", "cookie policy"),
    *("uses cookies", "use of cookies", "use cookies"),
    *("verwendet cookies", "verwenden cookies", "verwendung von cookies", "datenschutzerklärung"),
    *("utilise des cookies", "utilisons des cookies", "utilisation de cookies"),
    *("utilisation des cookies", "politique de confidentialité", "mentions légales"),
    *("utiliza cookies", "utilizamos cookies", "uso de cookies", "política de privacidad"),
    *("política de cookies", "utilizza cookie", "utilizziamo cookie", "uso dei cookie"),
    *("informativa sulla privacy", "gebruikt cookies", "gebruik van cookies", "bruger cookies"),
    *("använder cookies", "använder sig av cookies", "användning av cookies", "bruker cookies"),
    "política de privacidade",
]


def drops(line: str, rule: LineRule) -> bool:
    """Whether a rule of C4 drops a line without whitespace around it."""
    words = split(line)
    if rule == "long_words":
        return max(map(len, words)) > 1000 and not _UNSPACED.search(line)
    if rule == "unpunctuated":
        ends = (TERMINAL + TERMINAL_UNSPACED).replace("…", "") + "\"'”’»」』"
        ended = line.endswith(tuple(ends)) and not line.endswith("...")
        return not ended and not _UNPUNCTUATED.search(line)
    if rule == "short":
        return len(words) < 3 and not _UNSPACED.search(line)
    if rule == "javascript":
        return re.search("javascript", line, re.IGNORECASE | re.ASCII) is not None
    if rule == "policy":
        return any(re.search(phrase, line, re.IGNORECASE) for phrase in _POLICY)
    return False


def rebuild(text: str, keep: list[bool]) -> str:
    """The text of the lines to keep: unchanged if that is all of them."""
    if all(keep):
        return text
    lines: list[str] = []
    for line, kept in zip(text.split("\n"), keep, strict=True):
        blank = not line.strip(WHITESPACE)
        if kept and not (blank and lines and not lines[-1].strip(WHITESPACE)):
            lines.append(line)
    return "\n".join(lines).strip(WHITESPACE)


def clean(text: str, rules: tuple[LineRule, ...]) -> str:
    """A text less what the rules take out."""
    if "citations" in rules:
        text = re.sub(r"\[[0-9]*\]|\[edit\]|\[citation needed\]", "", text)
    lines = [line.strip(WHITESPACE) for line in text.split("\n")]
    return rebuild(text, [not line or not any(drops(line, r) for r in rules) for line in lines])


def drop_repeats(text: str, min_chars: int) -> str:
    """A text less its lines that repeat an earlier one."""
    known: set[str] = set()
    keep = []
    for line in text.split("\n"):
        stripped = line.strip(WHITESPACE)
        keep.append(not (stripped in known and len(stripped) >= min_chars))
        known.add(stripped)
    return rebuild(
        text,
        [
            kept or not line.strip(WHITESPACE)
            for kept, line in zip(keep, text.split("\n"), strict=True)
        ],
    )
