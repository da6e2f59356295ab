"""Texts, models and helpers that the tests of encoders share."""

from __future__ import annotations

import functools
import importlib.util
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mixcurate.models.embedded import encoder_folder
from mixcurate.models.encoder import Encoder
from mixcurate.models.encoders import EncoderSpec, EncodeStats
from mixcurate.models.model_folder import content_hash
from mixcurate.models.sequences import Sequences, TextTokenizer
from tests.documents import real_documents


def has_package(name: str) -> bool:
    """Whether a package is installed; it is not imported, which takes seconds."""
    return importlib.util.find_spec(name) is not None


needs_openvino = pytest.mark.skipif(not has_package("openvino"), reason="needs openvino")
needs_nncf = pytest.mark.skipif(not has_package("nncf"), reason="needs nncf")

REAL = [document["text"] for document in real_documents(60)]

ODD = [
    "A short sentence about rivers.",
    "",
    "🙂🎉 emoji only 🙂",
    "Ein deutscher Satz über Flüsse und Brücken.",
    "这是一个关于河流的句子。",
    "one",
    "   blanks around   ",
    "The quick brown fox jumps over the lazy dog. " * 4,
    "Rivers and bridges " * 200,  # cut to the model's length
    "x" * 500,  # one unknown word
    " " * 4_000 + "a sentence after many blanks",
    "Line one.\nLine two.\r\n\tLine three.",
]


@functools.cache
def embedded_weights() -> str:
    return content_hash(encoder_folder())


def spec(backend: str = "torch", precision: str = "fp32", **changes: Any) -> EncoderSpec:
    """The embedded model on the CPU."""
    values: dict[str, Any] = {"model": "embedded", "revision": None, "max_tokens": 256}
    values |= {"weights": embedded_weights(), "device": "cpu"}
    return EncoderSpec(**(values | {"backend": backend, "precision": precision} | changes))


def embed(encoder: Encoder, texts: list[str], size: int | None = None) -> np.ndarray:
    """Vectors of texts, ``size`` at a time."""
    size = size or max(1, len(texts))
    batches = [texts[start : start + size] for start in range(0, len(texts), size)]
    return np.concatenate(list(encoder.encode(batches, EncodeStats())))


def cosines(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return (left * right).sum(axis=1) / lengths


def silent(documents: int, tokens: int) -> None: ...


def sequences_of(rows: Sequence[Sequence[int]], owners: Sequence[int] | None = None) -> Sequences:
    """Sequences from lists of ids, one per document unless ``owners`` says otherwise."""
    owners = range(len(rows)) if owners is None else owners
    offsets = np.cumsum([0, *(len(row) for row in rows)]).astype(np.int64)
    ids = np.array([token for row in rows for token in row], np.int32)
    documents = max(owners, default=-1) + 1
    return Sequences(ids, offsets, np.array(owners, np.int64), documents)


def embedded_tokenizer(max_tokens: int | None = 256, **options: Any) -> TextTokenizer:
    from tokenizers import Tokenizer

    return TextTokenizer(
        Tokenizer.from_file(f"{encoder_folder()}/tokenizer.json"), max_tokens, **options
    )


def copied_model(target: Path, *, weights: bool = True) -> Path:
    """The embedded model in a folder of its own; without weights, an empty file in their place."""
    shutil.copytree(
        encoder_folder(),
        target,
        ignore=None if weights else shutil.ignore_patterns("*.safetensors"),
    )
    if not weights:
        (target / "model.safetensors").touch()
    return target
