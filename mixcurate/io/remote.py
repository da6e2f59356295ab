"""Files of object stores and servers, opened so that a failure is never taken for broken data."""

from __future__ import annotations

import contextlib
import errno
import io
import os
from collections.abc import Iterator
from typing import IO, Any

_BUFFER = 256 << 10


def open_file(fs: Any, inner: str, path: str) -> IO[bytes]:
    """Open ``inner`` of the fsspec filesystem ``fs``, called ``path`` in messages, for reading.

    Raises:
        OSError: it cannot be opened; later, from its methods: the way to it fails.
    """
    with _as_os_error(path):
        return io.BufferedReader(_File(fs.open(inner, "rb"), path), _BUFFER)


def read_range(fs: Any, inner: str, path: str, first: int, length: int) -> bytes:
    """Some bytes of ``inner``, by one request; fewer where the file ends.

    Raises:
        OSError: they cannot be read.
    """
    with _as_os_error(path):
        return bytes(fs.cat_file(inner, start=first, end=first + length))


class _File(io.RawIOBase):
    """A file of an object store or a server, whose failures are ``OSError`` with a number.

    The libraries behind fsspec raise exceptions of their own, and some raise ``OSError`` without a
    number, which Arrow uses for broken data: what failed on the way must not pass for that.
    """

    def __init__(self, stream: Any, path: str) -> None:
        self._stream, self._path = stream, path
        # fsspec calls a stream seekable that cannot go back: of a server that gives no ranges.
        self._seekable = not type(stream).__name__.endswith("StreamFile")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._seekable

    def readinto(self, buffer: Any, /) -> int:
        with _as_os_error(self._path):
            data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        if not self._seekable:
            raise io.UnsupportedOperation(
                errno.ESPIPE, f"the server gives no parts of {self._path}"
            )
        with _as_os_error(self._path):
            return int(self._stream.seek(offset, whence))

    def tell(self) -> int:
        return int(self._stream.tell())

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()


@contextlib.contextmanager
def _as_os_error(path: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(errno.ENOENT, "no such file", path) from error
    except Exception as error:  # each library has its own tree of exceptions
        if isinstance(error, OSError) and error.errno is not None:
            raise
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:500]
        raise OSError(errno.EIO, reason, path) from error
