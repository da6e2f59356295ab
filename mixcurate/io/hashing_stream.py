"""A stream that hashes what is written through it, so that a file is never read again."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from typing import IO, Any, Protocol, cast

#: Bytes that are hashed and written at once; Arrow writes a batch in dozens of small pieces.
_BUFFER = 1 << 20


class Hash(Protocol):
    """A hash as hashlib and xxhash have it."""

    def update(self, data: Any, /) -> None:
        """Take bytes."""
        ...

    def hexdigest(self) -> str:
        """Of all bytes so far."""
        ...


class HashingStream(io.RawIOBase):
    """Passes bytes on, counts them and hashes them on the way; the stream below stays open.

    Attributes:
        size: bytes so far.
    """

    def __init__(self, stream: IO[bytes], *hashes: Hash) -> None:
        super().__init__()
        self._stream, self._hashes = stream, hashes
        self.size = 0

    def writable(self) -> bool:
        """It is for nothing else."""
        return True

    def tell(self) -> int:
        """Bytes so far."""
        return self.size

    def write(self, data: Any) -> int:
        """Write, count and hash all of it."""
        n_bytes = memoryview(data).nbytes
        for one in self._hashes:
            one.update(data)
        self._stream.write(data)
        self.size += n_bytes
        return n_bytes

    @property
    def digests(self) -> list[str]:
        """Of everything written, one for each hash."""
        return [one.hexdigest() for one in self._hashes]


@contextlib.contextmanager
def buffered(stream: HashingStream) -> Iterator[IO[bytes]]:
    """For writers of small pieces: what is written has gone through when the block ends well."""
    buffer = io.BufferedWriter(stream, _BUFFER)
    try:
        yield cast("IO[bytes]", buffer)
        buffer.flush()
    finally:
        stream.close()  # what a writer that failed has left is not written when it is collected
