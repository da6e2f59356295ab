"""Language identification with the model that py3langid ships (BSD, 140 languages).

The model is a naive Bayes classifier on byte sequences that an automaton finds (Lui and Baldwin
2012, "langid.py"). py3langid walks it in Python, a byte at a time; here all texts of a batch are
walked in lock step by NumPy, which gives the same answers several times as fast.
"""

from __future__ import annotations

import dataclasses
import functools
import unicodedata
from typing import Any

import numpy as np
import numpy.typing as npt

#: The first characters of a document tell its language as well as all of them.
_READ_CHARACTERS = 500

#: Texts walked at once: enough that a step's overhead vanishes, few enough to stay in the cache.
_AT_ONCE = 1024

#: Weights are whole multiples of this, and the model's table of 2^-9: their sums are exact in
#: float64, hence the same in any order, on any machine.
_WEIGHT_STEP = 2.0**-24


@dataclasses.dataclass(frozen=True)
class _Model:
    """py3langid's model as arrays. A state's row of 256 next states may be shared."""

    next_state: npt.NDArray[np.uint32]
    """uint32 ``[rows * 256]``."""
    row_base: npt.NDArray[np.int64]
    """int64 ``[states]``: where the row of each state begins."""
    feature: npt.NDArray[np.int32]
    """int32 ``[states]``: what reaching the state counts for, or -1."""
    table: npt.NDArray[np.float16]
    """float16 ``[features, classes]``: log probabilities."""
    prior: npt.NDArray[np.float64]
    """float64 ``[classes]``."""
    classes: list[str]
    """The language of each class; a language with two scripts has two classes."""
    same: list[tuple[int, int]]
    """Pairs of classes that are one language."""


@functools.cache
def _model() -> _Model:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    loaded: Any = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    classes = [str(label) for label in loaded.nb_classes]
    return _Model(
        next_state=np.asarray(loaded.tk_nextmove).astype(np.uint32, copy=False),
        row_base=np.asarray(loaded.tk_row).astype(np.int64) << 8,
        feature=np.array(loaded.tk_output, np.int32),
        table=loaded.nb_ptc,
        prior=loaded.nb_pc.astype(np.float64),
        classes=classes,
        same=[(classes.index(c), i) for i, c in enumerate(classes) if classes.index(c) < i],
    )


def identify(texts: list[str]) -> tuple[list[str], npt.NDArray[np.float32]]:
    """The language of each text as an ISO 639-1 code, and its probability, float32 ``[n]``."""
    languages: list[str] = []
    scores = np.zeros(len(texts), np.float32)
    for start in range(0, len(texts), _AT_ONCE):
        encoded = [_encode(text[:_READ_CHARACTERS]) for text in texts[start : start + _AT_ONCE]]
        likely, probability = _classify(_model(), encoded)
        languages += [_model().classes[number] for number in likely.tolist()]
        scores[start : start + len(encoded)] = probability
    return languages, scores


def known_languages() -> list[str]:
    """Codes that ``identify`` can return, sorted."""
    return sorted(set(_model().classes))


def _encode(text: str) -> bytes:
    """The bytes that py3langid's own ``_encode`` gives the automaton."""
    if text.isupper():
        text = text.lower()
    return unicodedata.normalize("NFC", text).encode("utf-8", "surrogatepass")


def _classify(
    model: _Model, encoded: list[bytes]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """The best class of each text, int64 ``[n]``, and its probability, float64 ``[n]``."""
    from scipy.sparse import csr_matrix

    row, feature, count = _count_features(model, encoded)
    used = np.zeros(len(model.table), bool)
    used[feature] = True
    table = model.table[used].astype(np.float64)  # only what this batch needs: all is 114 MB
    column = (np.cumsum(used) - 1)[feature]
    weight = np.round(np.log1p(count) / _WEIGHT_STEP) * _WEIGHT_STEP
    bounds = np.searchsorted(row, np.arange(len(encoded) + 1))
    weights = csr_matrix((weight, column, bounds), shape=(len(encoded), len(table)))
    scores = weights @ table + model.prior
    scores[np.diff(bounds) == 0] = 0  # a text without features: any language is as likely
    lengths = np.array([max(1, len(data)) for data in encoded])
    scores /= np.sqrt(lengths)[:, None]  # py3langid's temperature: long texts are not overconfident
    scores = np.exp(scores - scores.max(axis=1, keepdims=True))
    scores /= scores.sum(axis=1, keepdims=True)
    for first, other in model.same:
        scores[:, first] += scores[:, other]
        scores[:, other] = 0
    best = scores.argmax(axis=1)
    return best, scores[np.arange(len(encoded)), best]


def _count_features(
    model: _Model, encoded: list[bytes]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Which features each text has and how often: three int64 ``[m]``, sorted by text."""
    lengths = np.array([len(data) for data in encoded])
    longest_first = np.argsort(-lengths, kind="stable")  # a step's texts are then the first ones
    steps = int(lengths.max())
    padded = b"".join([encoded[i].ljust(steps, b"\0") for i in longest_first.tolist()])
    data = np.frombuffer(padded, np.uint8).reshape(len(encoded), steps).T.copy()
    alive = np.searchsorted(-lengths[longest_first], -np.arange(steps)).tolist()
    states = np.zeros((steps, len(encoded)), np.uint32)  # state 0 counts for nothing
    base = np.full(len(encoded), model.row_base[0])
    for step in range(steps):
        n = alive[step]
        reached = model.next_state[base[:n] + data[step, :n]]
        states[step, :n] = reached
        base[:n] = model.row_base[reached]
    found = model.feature[states]
    at, text = np.nonzero(found >= 0)
    n_features = len(model.table)
    keys = longest_first[text] * n_features + found[at, text]
    unique, count = np.unique(keys, return_counts=True)
    return unique // n_features, unique % n_features, count
