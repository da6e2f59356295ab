"""Language identification with the model that py3langid ships (BSD, 97 languages)."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt

#: The first characters of a document tell its language as well as all of them.
_READ_CHARACTERS = 500


@functools.cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def identify(texts: list[str]) -> tuple[list[str], npt.NDArray[np.float32]]:
    """The language of each text as an ISO 639-1 code, and its probability, float32 ``[n]``."""
    classify = _identifier().classify
    found = [classify(text[:_READ_CHARACTERS]) for text in texts]
    scores = np.array([score for _, score in found], np.float32)
    return [language for language, _ in found], scores


def known_languages() -> list[str]:
    """Codes that ``identify`` can return, sorted."""
    return sorted(str(label) for label in _identifier().labels)
