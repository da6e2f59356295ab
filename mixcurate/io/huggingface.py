"""Folders of the Hugging Face ``datasets`` library and hub: which of their files hold data."""

from __future__ import annotations

from typing import Any

from mixcurate.errors import InputError
from mixcurate.io import storage

#: What a saved dataset and a saved dict of splits keep in their folders.
STATE = "state.json"
SPLITS = "dataset_dict.json"

_PACKED = ("", ".gz", ".zst")
#: No .txt, .md or .json: in these folders they are cards and settings.
_DATA_SUFFIXES = (
    ".parquet",
    ".arrow",
    *(kind + packed for kind in (".jsonl", ".csv", ".tsv", ".tar") for packed in _PACKED),
)


def list_data_files(folder: str) -> list[str]:
    """The data files of a dataset folder: what ``save_to_disk`` lists, else every file of data.

    Raises:
        InputError: there are none, or what lists them is broken.
    """
    names = storage.list_names(folder)
    if SPLITS in names:
        splits = _read_list(storage.join(folder, SPLITS), "splits")
        folders = [storage.join(folder, name) for name in sorted(_inside(splits, folder))]
        files = [file for split in folders for file in _saved(split)]
    elif STATE in names:
        files = _saved(folder)
    else:
        found = [file.path for file in storage.glob(folder)]
        files = [p for p in found if p.endswith(_DATA_SUFFIXES) and not is_hidden(p, folder)]
    if not files:
        raise InputError(
            f"no data in the dataset folder {folder}: no {STATE} or {SPLITS} that lists files, and"
            f" no file ending with {', '.join(_DATA_SUFFIXES)}"
        )
    return files


def _saved(folder: str) -> list[str]:
    """The Arrow files that the state of a saved dataset lists."""
    path = storage.join(folder, STATE)
    entries = _read_list(path, "_data_files")
    names = [entry.get("filename") if isinstance(entry, dict) else None for entry in entries]
    return [storage.join(folder, name) for name in _inside(names, path)]


def _read_list(path: str, key: str) -> list[Any]:
    """The list under ``key`` of a small JSON file."""
    try:
        value = storage.read_json(path)
        entries = value[key]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"cannot read {key!r} of {path}: {error}") from error
    if not isinstance(entries, list):
        raise InputError(f"{key!r} of {path} is not a list; `save_to_disk` writes one")
    return entries


def _inside(names: list[Any], path: str) -> list[str]:
    """``names`` if all of them lead to places below the folder of ``path``."""
    for name in names:
        if not isinstance(name, str) or name.startswith("/") or ".." in name.split("/"):
            raise InputError(f"{path} lists {name!r}, which is no file name below its folder")
    return names


def is_hidden(path: str, folder: str) -> bool:
    """Whether a file found below ``folder`` is hidden there, or lies in a hidden folder.

    Unfinished files, caches, version control and the logs of table formats hide so.
    """
    inner = storage.filesystem(folder)[1].rstrip("/")
    *folders, name = path.split("://", 1)[-1].removeprefix(inner).split("/")
    return name.startswith(".") or any(part.startswith((".", "_")) for part in folders)
