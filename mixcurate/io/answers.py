"""Answers of a language model, one small file each, so that none is paid for twice."""

from __future__ import annotations

import dataclasses

from mixcurate.io import storage


@dataclasses.dataclass(frozen=True)
class AnswerFiles:
    """A folder of answers by the hash of their request."""

    folder: str
    """Local or remote; made when the first answer is kept."""

    def get(self, key: str) -> bytes | None:
        """The answer that was kept under ``key``, or None."""
        try:
            return storage.read_bytes(self._path(key))
        except FileNotFoundError:
            return None

    def put(self, key: str, data: bytes) -> None:
        """Keep an answer, whole or not at all."""
        storage.write_bytes(self._path(key), data)

    def _path(self, key: str) -> str:
        return storage.join(self.folder, key[:2], f"{key}.json")
