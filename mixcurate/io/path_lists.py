"""Lists of paths, as Common Crawl publishes them: each line names a file of data."""

from __future__ import annotations

from mixcurate.errors import InputError
from mixcurate.io import storage
from mixcurate.io.compression import PlainStream, open_plain
from mixcurate.io.lines import read_pieces
from mixcurate.io.records import Rejection

_MAX_LINE = 4096
_MAX_LINES = 10_000_000

#: Schemes of lines that are whole URLs; others could open files of this machine.
_SCHEMES = ("https", "http", "s3", "gs", "gcs", "abfs", "hf")


def read_paths(path: str, *, root: str, first: int | None) -> dict[str, int]:
    """The listed files and their line numbers, in the list's order; at most the ``first`` so many.

    ``root`` is put before each line but whole URLs. Those are taken only where the root is no local
    folder; and no line leads out of the root.

    Raises:
        InputError: the list is damaged, has no lines, or a line is no usable path.
        OSError: it cannot be read.
    """
    found: dict[str, int] = {}
    with storage.open_read(path) as stream:
        plain = open_plain(stream, path)
        for number, (_, line) in enumerate(read_pieces(plain), 1):
            name = _name(line, f"{path}, line {number:,}")
            if not name:
                continue
            listed = _joined(root, name, f"{path}, line {number:,}")
            if listed in found:
                raise InputError(
                    f"{path}, line {number:,}: {name!r} is on line {found[listed]:,} already, so"
                    " that its documents would be read twice; remove one"
                )
            found[listed] = number
            if len(found) == first:
                break
            if number > _MAX_LINES:
                raise InputError(f"{path}: more than {_MAX_LINES:,} lines; cut it or set `first:`")
        _check_end(plain, path, found, first)
    return found


def _check_end(plain: PlainStream, path: str, found: dict[str, int], first: int | None) -> None:
    if plain.error is not None and len(found) != first:
        raise InputError(f"{path}: {plain.error}; get the list anew")
    if not found:
        raise InputError(f"{path}: the list is empty; each line must name a file")


def _name(line: bytes | Rejection, place: str) -> str:
    """The path on a line; empty for a blank one."""
    if isinstance(line, Rejection) or len(line) > _MAX_LINE:
        raise InputError(f"{place}: more than {_MAX_LINE:,} bytes; is it a list of paths?")
    try:
        name = line.decode("utf-8").strip()
    except UnicodeDecodeError as error:
        raise InputError(f"{place}: not UTF-8 ({error.reason}); is it a list of paths?") from None
    if not name.isprintable():
        raise InputError(f"{place}: {name!r} holds control characters; is it a list of paths?")
    return name


def _joined(root: str, name: str, place: str) -> str:
    """``name`` below ``root``, or itself where it is a URL."""
    scheme, colon, _ = name.partition("://")
    if colon:
        if storage.is_local(root):
            raise InputError(f"{place}: {name!r} does not lie in the root, the folder {root}")
        if scheme not in _SCHEMES or "::" in name:
            raise InputError(f"{place}: {name!r} must be a path or a URL of {', '.join(_SCHEMES)}")
        return name
    if name.startswith("/") or ".." in name.replace("\\", "/").split("/") or "::" in name:
        raise InputError(
            f"{place}: {name!r} leads out of the root {root or '.'}; lines must be relative to it,"
            " without '..' and '::'"
        )
    return storage.join(root, name)
