"""The published quality rules, one text at a time in plain Python: what the kernels must equal."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

from mixcurate.kernels.stopwords import STOP_WORDS

#: Unicode's White_Space, which is what Rust takes for whitespace; Python's ``isspace`` has more.
WHITESPACE = (
    "\t\n\x0b\x0c\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009"
    "\u200a\u2028\u2029\u202f\u205f\u3000"
)
BULLETS = "•‣▪●◦○*-–"
TERMINAL = ".!?…‼⁇⁈⁉‽؟۔؞।॥։።፧፨៕၊᠃᠉᱾᱿߹꓿．﹒﹖﹗⸮"
TERMINAL_UNSPACED = "。！？｡។။།"
CLOSERS = "\"'”’»)]」』】）"
UNSPACED = ["zh", "ja", "th", "lo", "km", "my", "bo", "dz", "yue", "wuu"]

#: Gopher, appendix A.1.1 and table A1: signal, least, most.
GOPHER = [
    ("n_words", 50, 100_000),
    ("mean_word_length", 3, 10),
    ("symbol_word_ratio", None, 0.1),
    ("bullet_lines", None, 0.9),
    ("ellipsis_lines", None, 0.3),
    ("alpha_words", 0.8, None),
    ("stop_words", 2, None),
    ("duplicate_lines", None, 0.3),
    ("duplicate_line_chars", None, 0.2),
    ("duplicate_paragraphs", None, 0.3),
    ("duplicate_paragraph_chars", None, 0.2),
    ("top_2gram_chars", None, 0.20),
    ("top_3gram_chars", None, 0.18),
    ("top_4gram_chars", None, 0.16),
    ("duplicate_5gram_chars", None, 0.15),
    ("duplicate_6gram_chars", None, 0.14),
    ("duplicate_7gram_chars", None, 0.13),
    ("duplicate_8gram_chars", None, 0.12),
    ("duplicate_9gram_chars", None, 0.11),
    ("duplicate_10gram_chars", None, 0.10),
]
#: C4, section 2.2: what it asks of whole pages.
C4 = [("sentences", 5, None), ("lorem_ipsum", None, 0), ("curly_brackets", None, 0)]
#: FineWeb, section 3.6, with the numbers of its code.
FINEWEB = [
    ("punctuated_lines", 0.12, None),
    ("short_lines", None, 0.67),
    ("duplicate_line_chars", None, 0.01),
    ("newline_ratio", None, 0.3),
]
#: FineWeb's bound on characters in duplicate lines is stricter than Gopher's and takes its place.
PRESETS = {
    "none": [],
    "gopher": GOPHER,
    "c4": C4,
    "fineweb": [next((own for own in FINEWEB if own[0] == rule[0]), rule) for rule in GOPHER + C4]
    + [own for own in FINEWEB if own[0] != "duplicate_line_chars"],
}


def split(text: str) -> list[str]:
    return [word for word in re.split(f"[{WHITESPACE}]+", text) if word]


def split_paragraphs(text: str) -> list[str]:
    pieces, lines = [], []
    for line in [*text.split("\n"), ""]:
        if line.strip(WHITESPACE):
            lines.append(line)
        elif lines:
            pieces.append("\n".join(lines).strip(WHITESPACE))
            lines = []
    return pieces


def is_word_character(character: str) -> bool:
    return character.isalnum() or character == "_" or unicodedata.category(character)[0] == "M"


def occurs(word: str, text: str) -> bool:
    padded = f" {text} "
    return any(
        not is_word_character(padded[match.start() - 1])
        and not is_word_character(padded[match.end()])
        for match in re.finditer(word, padded, re.IGNORECASE)
    )


def count_sentences(line: str) -> int:
    """Marks that end a sentence, and the rest of the line."""
    count = at = 0
    while at < len(line):
        if line[at] not in TERMINAL + TERMINAL_UNSPACED:
            at += 1
            continue
        end = at
        while end < len(line) and line[end] in TERMINAL + TERMINAL_UNSPACED:
            end += 1
        unspaced = any(mark in TERMINAL_UNSPACED for mark in line[at:end])
        while end < len(line) and line[end] in CLOSERS:
            end += 1
        count += unspaced or end == len(line) or line[end] in WHITESPACE
        at = end
    return count + (not line.rstrip(CLOSERS).endswith(tuple(TERMINAL + TERMINAL_UNSPACED)))


def repeated(pieces: list[str]) -> tuple[float, float]:
    """Share of pieces that repeat an earlier one, and of their characters."""
    known: set[str] = set()
    again = chars = 0
    for piece in pieces:
        again += piece in known
        chars += len(piece) * (piece in known)
        known.add(piece)
    return again / max(len(pieces), 1), chars / max(sum(map(len, pieces)), 1)


def top_ngram(words: list[str], n: int) -> int:
    grams = [" ".join(words[i : i + n]) for i in range(len(words) - n + 1)]
    if not grams:
        return 0
    gram, seen = Counter(grams).most_common(1)[0]
    return len(gram) * seen


def duplicate_ngrams(words: list[str], n: int) -> int:
    known: set[tuple[str, ...]] = set()
    chars = at = 0
    while at < len(words) - n + 1:
        gram = tuple(words[at : at + n])
        if gram in known:
            chars += len("".join(gram))
            at += n
        else:
            known.add(gram)
            at += 1
    return chars


def reference(text: str, language: str = "en", words: list[str] | None = None) -> dict[str, float]:
    """Every signal as documented, of these words, or of the text's runs of non-whitespace."""
    words = split(text) if words is None else words
    raw = [line for line in text.split("\n") if line.strip(WHITESPACE)]
    lines = [line.strip(WHITESPACE) for line in raw]
    n_words, n_lines, n_chars = max(len(words), 1), max(len(lines), 1), max(len(text), 1)
    own = text if language == "en" else unicodedata.normalize("NFC", text)
    duplicate_lines, duplicate_line_chars = repeated(lines)
    duplicate_paragraphs, duplicate_paragraph_chars = repeated(split_paragraphs(text))
    signals = {
        "n_words": len(words),
        "mean_word_length": sum(map(len, words)) / n_words,
        "symbol_word_ratio": max(text.count("#"), text.count("...") + text.count("…")) / n_words,
        "alpha_words": sum(any(c.isalpha() for c in word) for word in words) / n_words,
        "stop_words": sum(occurs(word, own) for word in STOP_WORDS.get(language, ())),
        "bullet_lines": sum(
            line[0] in BULLETS and whole.lstrip(WHITESPACE)[1:2] in tuple(WHITESPACE)
            for line, whole in zip(lines, raw, strict=True)
        )
        / n_lines,
        "ellipsis_lines": sum(line.endswith(("...", "…")) for line in lines) / n_lines,
        "punctuated_lines": sum(
            line.rstrip(CLOSERS).endswith(tuple(TERMINAL + TERMINAL_UNSPACED)) for line in lines
        )
        / n_lines,
        "short_lines": sum(len(line) <= 30 for line in lines) / n_lines,
        "newline_ratio": text.count("\n") / n_words,
        "duplicate_lines": duplicate_lines,
        "duplicate_line_chars": duplicate_line_chars,
        "duplicate_paragraphs": duplicate_paragraphs,
        "duplicate_paragraph_chars": duplicate_paragraph_chars,
        "sentences": sum(map(count_sentences, lines)),
        "lorem_ipsum": len(re.findall("lorem ipsum", text, re.IGNORECASE | re.ASCII)),
        "curly_brackets": text.count("{"),
    }
    signals |= {f"top_{n}gram_chars": top_ngram(words, n) / n_chars for n in (2, 3, 4)}
    return signals | {
        f"duplicate_{n}gram_chars": duplicate_ngrams(words, n) / n_chars for n in range(5, 11)
    }


def applies(name: str, language: str) -> bool:
    """Whether a rule makes sense in a language."""
    words = ("n_words", "mean_word_length", "symbol_word_ratio", "alpha_words", "newline_ratio")
    return not (
        (name == "stop_words" and language not in STOP_WORDS)
        or (language in UNSPACED and (name in words or "gram_chars" in name))
        or (language in ("th", "lo") and name in ("punctuated_lines", "sentences"))
        or (language in ("ko", "ml", "ta", "sa") and name == "mean_word_length")
    )


def first_failure(signals: dict[str, float], language: str, preset: str) -> str | None:
    """The first rule of a preset that a text fails, None if it passes."""
    for name, least, most in PRESETS[preset]:
        value = signals[name]
        if applies(name, language) and (
            (least is not None and value < least) or (most is not None and value > most)
        ):
            return name
    return None
