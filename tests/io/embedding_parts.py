"""What tests of embeddings on disk share: vectors, and parts of them."""

from __future__ import annotations

import uuid

import numpy as np

from mixcurate.io import storage
from mixcurate.io.embeddings import EmbeddingsWriter, read_embeddings
from mixcurate.tables import EmbeddingKind

KINDS: tuple[EmbeddingKind, ...] = ("float16", "float32", "int8")


def gaussian(n: int, dimension: int = 384) -> np.ndarray:
    vectors = np.random.default_rng(n).normal(size=(n, dimension)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def write(path: str, *pieces: np.ndarray, kind: EmbeddingKind = "float16") -> str:
    with EmbeddingsWriter(path, pieces[0].shape[1], kind) as writer:
        for piece in pieces:
            writer.write(piece)
    return path


def back(vectors: np.ndarray, kind: EmbeddingKind) -> np.ndarray:
    path = write(f"memory://embeddings/{uuid.uuid4()}", vectors, kind=kind)
    try:
        return read_embeddings(path)
    finally:
        storage.remove(path)
