"""A stream that hashes what is written through it, so that a file is never read again."""

from __future__ import annotations

from typing import IO, Any, Protocol


class Hash(Protocol):
    """A hash as hashlib and xxhash have it."""

    def update(self, data: Any, /) -> None:
        """Take bytes."""
        ...

    def hexdigest(self) -> str:
        """Of all bytes so far."""
        ...


class HashingStream:
    """Passes bytes on, counts them and hashes them on the way."""

    def __init__(self, stream: IO[bytes], *hashes: Hash) -> None:
        self._stream, self._hashes = stream, hashes
        self.size = 0

    def write(self, data: Any) -> int:
        """Write, count and hash."""
        for one in self._hashes:
            one.update(data)
        self.size += memoryview(data).nbytes
        return self._stream.write(data)

    def flush(self) -> None:
        """Flush the stream below."""
        self._stream.flush()

    @property
    def closed(self) -> bool:
        """Whether the stream below is closed."""
        return self._stream.closed

    @property
    def digests(self) -> list[str]:
        """Of everything written, one for each hash."""
        return [one.hexdigest() for one in self._hashes]
