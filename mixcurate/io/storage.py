"""Files on any filesystem (local, gs://, s3://, …) through fsspec: list, open, write atomically.

A file written here exists whole under its name or not at all: locally by writing beside it and
renaming, elsewhere by uploading it once it is whole.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import io
import os
import posixpath
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from typing import IO, Any

import orjson
import pyarrow as pa
import xxhash
from fsspec.core import url_to_fs

from mixcurate.errors import JobError, MissingExtra, OutputError
from mixcurate.io import remote

_TEMPORARY = ".tmp-"
_CHUNK = 4 << 20
_EXTRAS = {
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "s3": "s3fs",
    "abfs": "adlfs",
    "hf": "huggingface_hub",
    "http": "aiohttp",
    "https": "aiohttp",
}
_VERSIONS = (
    "etag",
    "ETag",
    "md5Hash",
    "mtime",
    "updated",
    "LastModified",
    "Last-Modified",
    "blob_id",
)


@dataclasses.dataclass(frozen=True)
class FileInfo:
    """One existing file: its path as it was reached, its size, and what tells a change."""

    path: str
    size: int
    version: str


def is_local(path: str) -> bool:
    """Whether ``path`` is a plain path of this machine."""
    return "://" not in path


def filesystem(path: str) -> tuple[Any, str]:
    """The fsspec filesystem of ``path`` and the path inside it.

    Raises:
        MissingExtra: the package for this scheme is not installed.
    """
    try:
        fs, inner = url_to_fs(path)
    except ImportError as error:
        scheme = path.split("://", 1)[0]
        package = _EXTRAS.get(scheme, scheme)
        raise MissingExtra(f"support for {scheme}:// paths", f"pip install {package}") from error
    return fs, str(inner)


def join(*parts: str) -> str:
    """Join path parts; works for local paths and URLs. Like an absolute path, a URL begins anew."""
    start = max((i for i, part in enumerate(parts) if "://" in part), default=0)
    return posixpath.join(*parts[start:])


def exists(path: str) -> bool:
    """Whether a file or folder is there."""
    fs, inner = filesystem(path)
    return bool(fs.exists(inner))


def size(path: str) -> int:
    """Size of a file in bytes."""
    fs, inner = filesystem(path)
    return int(fs.size(inner))


def info(path: str) -> FileInfo:
    """Size and version (etag, or modification time) of one file."""
    fs, inner = filesystem(path)
    return _info(path, fs.info(inner))


def _info(path: str, entry: dict[str, Any]) -> FileInfo:
    size = int(entry.get("size") or 0)  # some servers do not tell
    for key in _VERSIONS:
        if entry.get(key) is not None:
            return FileInfo(path, size, f"{key.lower()}:{entry[key]}")
    return FileInfo(path, size, "unknown")


def glob(pattern: str) -> list[FileInfo]:
    """Files that match ``pattern``, sorted by path; a folder means every file below it.

    The name of an existing file or folder stands for itself, whatever characters it has.
    """
    fs, inner = filesystem(pattern)
    scheme = pattern.split("://", 1)[0] + "://" if "://" in pattern else ""
    if fs.isdir(inner):
        found = fs.find(inner, detail=True)
    elif fs.isfile(inner):
        found = {inner: fs.info(inner)}
    else:
        found = fs.glob(inner, detail=True)
    return [
        _info(scheme + name, entry)
        for name, entry in sorted(found.items())
        if entry["type"] == "file"
    ]


def list_names(folder: str) -> list[str]:
    """Sorted names of what is directly in ``folder``; empty when there is no such folder."""
    fs, inner = filesystem(folder)
    try:
        entries = fs.ls(inner, detail=True, refresh=True) if not is_local(folder) else fs.ls(inner)
    except (FileNotFoundError, NotADirectoryError):
        return []
    names = [e if isinstance(e, str) else e["name"] for e in entries]
    return sorted(posixpath.basename(name.rstrip("/")) for name in names)


def open_read(path: str) -> IO[bytes]:
    """Open a file for reading bytes.

    Raises:
        OSError: it cannot be opened; later, from its methods: the disk or the network fails.
    """
    if is_local(path):
        return open(path, "rb")
    fs, inner = filesystem(path)
    return remote.open_file(fs, inner, path)


@contextlib.contextmanager
def open_mapped(path: str) -> Iterator[pa.NativeFile | IO[bytes]]:
    """A file for Arrow's own readers: mapped if it is local, so that only what is used is read.

    What is read without a copy may outlive the block.

    Raises:
        OSError: as ``open_read``.
    """
    with pa.memory_map(path) if is_local(path) else open_read(path) as source:
        yield source


def _temporary(folder: str, name: str) -> str:
    """A name beside the file, that no other thread, process or machine uses at the same time."""
    return os.path.join(folder, f"{_TEMPORARY}{name}.{uuid.uuid4().hex[:16]}")


@contextlib.contextmanager
def open_atomic(path: str) -> Iterator[IO[bytes]]:
    """Open ``path`` for writing; it appears under its name only if the block ends well."""
    if not is_local(path):
        fs, inner = filesystem(path)
        # closing an object that is half written would make it appear, so it is not begun before
        with tempfile.TemporaryDirectory(prefix="mixcurate-") as scratch:
            whole = os.path.join(scratch, "upload")
            with open(whole, "wb") as stream:
                yield stream
            fs.put_file(whole, inner)
        return
    folder, name = os.path.split(path)
    os.makedirs(folder or ".", exist_ok=True)
    temporary = _temporary(folder, name)
    try:
        with open(temporary, "wb") as stream:
            yield stream
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.remove(temporary)
        raise


def write_bytes(path: str, data: bytes) -> None:
    """Write a whole file atomically."""
    with open_atomic(path) as stream:
        stream.write(data)


def read_bytes(path: str) -> bytes:
    """Read a whole file."""
    with open_read(path) as stream:
        return stream.read()


def read_range(path: str, first: int, length: int) -> bytes:
    """Bytes ``[first, first + length)`` of a file: one request, wherever it is.

    Raises:
        OSError: they cannot be read, or the file ends before.
    """
    if is_local(path):
        with open(path, "rb", buffering=0) as stream:
            stream.seek(first)
            data = _read_all(stream, length)
    else:
        data = remote.read_range(*filesystem(path), path, first, length)
    if len(data) < length:
        raise OSError(errno.EIO, f"it ends {length - len(data):,} bytes too early", path)
    return data


def _read_all(stream: io.FileIO, length: int) -> bytes:
    """As many bytes as there are; the system gives at most 2 GiB at once."""
    data = stream.read(length) or b""
    while len(data) < length and (more := stream.read(length - len(data))):
        data += more
    return data


def write_json(path: str, value: Any) -> None:
    """Write ``value`` as indented JSON with sorted keys, atomically."""
    options = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE
    write_bytes(path, orjson.dumps(value, option=options))


def read_json(path: str) -> Any:
    """Read a JSON file."""
    return orjson.loads(read_bytes(path))


def digest(path: str) -> str:
    """``xxh3:`` and the 128-bit hash of a file's bytes; names content, does not protect it."""
    state = xxhash.xxh3_128()
    with open_read(path) as stream:
        while chunk := stream.read(_CHUNK):
            state.update(chunk)
    return f"xxh3:{state.hexdigest()}"


def etag(path: str) -> str:
    """What names a file's content: its hash locally, the store's own tag elsewhere."""
    return digest(path) if is_local(path) else info(path).version


def remove(path: str) -> None:
    """Remove a file or a folder; nothing happens when it is not there."""
    fs, inner = filesystem(path)
    with contextlib.suppress(FileNotFoundError):
        fs.rm(inner, recursive=True)


def remove_temporaries(folder: str) -> None:
    """Remove what a killed writer left in ``folder``."""
    for name in list_names(folder):
        if name.startswith(_TEMPORARY):
            remove(join(folder, name))


def require_writable(folder: str) -> None:
    """Fail before any work when ``folder`` cannot be made or written.

    Raises:
        OutputError: with the folder's name and the system's reason.
    """
    probe = join(folder, f"{_TEMPORARY}probe")
    try:
        write_bytes(probe, b"")
        remove(probe)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(
            f"cannot write to {folder}: {reason}. Choose another folder or change its permissions."
        ) from error


def free_bytes(folder: str) -> int | None:
    """Bytes that can still be written in a folder of this machine; None elsewhere."""
    if not is_local(folder):
        return None
    while not os.path.isdir(folder) and folder != os.path.dirname(folder):
        folder = os.path.dirname(folder)
    return shutil.disk_usage(folder or ".").free


@contextlib.contextmanager
def tells_full_disk(folder: str, needed: int) -> Iterator[None]:
    """What is written into ``folder`` may find its disk full: then say what is missing.

    Args:
        folder: where files are written.
        needed: bytes that are written at least.

    Raises:
        JobError: there was no space left, or the quota is used up.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        free = free_bytes(folder)
        left = "" if free is None else f" {free:,} bytes are free,"
        raise JobError(
            f"cannot write to {folder}: {os.strerror(error.errno)}.{left} and {needed:,} or more "
            f"are needed for the next file. Make room and run the same command again: what is "
            f"finished is kept."
        ) from error


def link(source: str, target: str) -> None:
    """Give a file a second name: a hard link locally, a copy inside an object store.

    The target appears whole or not at all; an older target is replaced.
    """
    if not is_local(target):
        fs, inner = filesystem(target)
        fs.cp_file(filesystem(source)[1], inner)
        return
    folder, name = os.path.split(target)
    os.makedirs(folder or ".", exist_ok=True)
    temporary = _temporary(folder, name)
    try:
        os.link(source, temporary)
    except OSError:  # a filesystem without hard links
        shutil.copyfile(source, temporary)
    os.replace(temporary, target)
