"""fastText files written from the layout of the format, and what the model in them gives."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

MAGIC, EOS = 793_712_314, "</s>"
WORDS = (EOS, "the", "theorem", "proof", "river", "bridge", "buy", "now", "cheap", "offers")


class FastTextFile:
    """A supervised model of random numbers: softmax loss, bigrams, no character n-grams."""

    def __init__(
        self,
        labels: Sequence[str] = ("__label__hq", "__label__cc"),
        *,
        buckets: int = 50,
        dim: int = 6,
        seed: int = 3,
        quantised: bool = False,
        ngrams: int = 2,
        words: Sequence[str] = WORDS,
    ) -> None:
        random = np.random.default_rng(seed)
        self.words = tuple(words)
        self.labels, self.buckets, self.dim, self.ngrams = tuple(labels), buckets, dim, ngrams
        self.input = random.standard_normal((len(words) + buckets, dim), np.float32)
        self.output = random.normal(size=(len(labels), dim)).astype(np.float32)
        self.codes: np.ndarray | None = None
        if quantised:  # in parts of two numbers, each one of 256 pairs
            self.parts = dim // 2
            self.codes = random.integers(0, 256, (len(self.input), self.parts)).astype(np.uint8)
            self.centroids = random.normal(size=(self.parts, 256, 2)).astype(np.float32)
            picked = [self.centroids[part, self.codes[:, part]] for part in range(self.parts)]
            self.input = np.concatenate(picked, axis=1)

    def args(self) -> list[int]:
        """dim, ws, epoch, minCount, neg, wordNgrams, loss, model, bucket, minn, maxn, lrUpdate."""
        return [self.dim, 5, 1, 1, 5, self.ngrams, 3, 3, self.buckets, 0, 0, 100]

    def dictionary(self) -> bytes:
        size = len(self.words) + len(self.labels)
        found = [struct.pack("<iiiqq", size, len(self.words), len(self.labels), 1_000, -1)]
        for kind, names in ((0, self.words), (1, self.labels)):
            found += [name.encode() + b"\0" + struct.pack("<qb", 10, kind) for name in names]
        return b"".join(found)

    def matrix(self) -> bytes:
        shape = struct.pack("<qq", *self.input.shape)
        if self.codes is None:
            return b"\0" + shape + self.input.tobytes()
        quantiser = struct.pack("<4i", self.dim, self.parts, 2, 2) + self.centroids.tobytes()
        codes = struct.pack("<i", self.codes.size) + self.codes.tobytes()
        return b"\1" + b"\0" + shape + codes + quantiser

    def to_bytes(self) -> bytes:
        head = struct.pack("<ii", MAGIC, 12) + struct.pack("<12id", *self.args(), 1e-4)
        output = b"\0" + struct.pack("<qq", *self.output.shape) + self.output.tobytes()
        return b"".join([head, self.dictionary(), self.matrix(), output])

    def write(self, path: Path) -> Path:
        path.write_bytes(self.to_bytes())
        return path

    def probabilities(self, line: str) -> np.ndarray:
        """What the model gives for a line, in plain arithmetic; float64 ``[labels]``."""
        for blank in "\n\r\t\v\f\0":
            line = line.replace(blank, " ")
        tokens = [token for token in line.split(" ") if token] + [EOS]
        hashes = [_hash(token.encode()) for token in tokens]
        rows = [self.words.index(token) for token in tokens if token in self.words]
        for first, second in zip(hashes, hashes[1:], strict=False):
            if self.ngrams > 1:
                rows.append(len(self.words) + _bigram(first, second) % self.buckets)
        hidden = self.input[rows].astype(float).mean(axis=0)
        powers = np.exp(self.output.astype(float) @ hidden)
        return powers / powers.sum()


def _hash(word: bytes) -> int:
    """FNV-1a as fastText has it: bytes and result are signed."""
    h = 2_166_136_261
    for byte in word:
        h = (h ^ ((byte - 256 if byte > 127 else byte) & 0xFFFFFFFF)) * 16_777_619 & 0xFFFFFFFF
    return h - (1 << 32) if h >= 1 << 31 else h


def _bigram(first: int, second: int) -> int:
    return (first * 116_049_371 + second) & 0xFFFFFFFFFFFFFFFF
