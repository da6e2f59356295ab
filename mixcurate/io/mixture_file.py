"""Shares of domains as other tools leave them: olmix, RegMix, Megatron and its scripts, DoReMi.

All are small files that were made by hand or by a search. Every number in them is meant, so what
cannot be read is an error with its place, never a name that is passed over.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

import yaml

from mixcurate.errors import InputError, RequestError, nearest
from mixcurate.io import storage

Kind = Literal["auto", "olmix", "regmix", "megatron", "doremi"]

#: A table of ten thousand runs over a hundred domains has less.
MAX_BYTES = 16 << 20
#: The parser of YAML takes seconds for this much.
MAX_YAML_BYTES = 1 << 20

_ENDINGS: dict[str, Kind] = {
    ".csv": "olmix",
    ".yaml": "regmix",
    ".yml": "regmix",
    ".txt": "megatron",
    ".sh": "megatron",
    ".json": "doremi",
}
#: Columns of an olmix table that are no domains; pandas leaves the number of a row in the last two.
_METADATA = ("run", "name", "index", "", "Unnamed: 0")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|[+-]?(nan|inf|infinity)", re.IGNORECASE)
#: What Megatron's tools put behind the name of a data set.
_SUFFIX = re.compile(r"(_text_(document|sentence))?(\.(bin|idx))?$")
_SHOWN = 60
#: No weight is more; their sum is finite.
_MOST = 1e100


class _Entry(NamedTuple):
    """One name and its weight, and where the file says so."""

    where: str
    full: str
    """The name as it stands in the file."""
    name: str
    """What it means: without the prefix or path of the tool."""
    weight: float


def read_shares(
    path: str,
    *,
    kind: Kind = "auto",
    run: str | None = None,
    names: Mapping[str, str] | None = None,
) -> dict[str, float]:
    """The weights of a mixture by the names of domains.

    olmix: a CSV with a column per domain (``source:topic`` is a name like any other) and a row per
    run. RegMix: YAML lines ``train_<domain>: weight``, at the top level or below ``train``; or its
    CSV. Megatron: pairs of ``weight prefix``, a domain being the last part of the prefix; also in
    a shell script that prints or assigns them. DoReMi: JSON, ``train_domain_weights``.

    Args:
        path: of the file; whole, not relative to anything.
        kind: which of them; ``auto`` goes by the ending.
        run: the row of a CSV, by its ``run``, ``name`` or ``index``.
        names: what to call a domain, by its name in the file, with or without prefix or path; two
            names may be called the same, and add up.

    Returns:
        finite, non-negative weights of which one at least is positive; their sum may be anything.

    Raises:
        InputError: no such file, or one that cannot be read: its line or key, and the fix.
        RequestError: an unknown ending, a run that is not in the file, a name in ``names`` that is
            not.
    """
    if kind == "auto":
        kind = _kind(path)
    if run is not None and kind != "olmix":
        raise RequestError(f"mixture.file.run: {path} holds one mixture; only a CSV has runs")
    entries = list(_READERS[kind](path, _text(path), run))
    found = _by_name(path, entries, names or {})
    if not any(found.values()):
        raise InputError(f"{path}: no weight above 0; give one to each domain that is wanted")
    return found


def _kind(path: str) -> Kind:
    for ending, kind in _ENDINGS.items():
        if path.lower().endswith(ending):
            return kind
    raise RequestError(
        f"{path}: the ending tells no format; set mixture.file.format to olmix, regmix, megatron "
        f"or doremi"
    )


def _text(path: str) -> str:
    try:
        size = storage.size(path)
        if size > MAX_BYTES:
            raise InputError(
                f"{path} has {size:,} bytes; a file of shares has {MAX_BYTES:,} at most"
            )
        content = storage.read_bytes(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"cannot read {path}: {reason}; see mixture.file.path") from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise InputError(f"{path}:{line}: not UTF-8; save the file as UTF-8") from error


def _by_name(path: str, entries: list[_Entry], names: Mapping[str, str]) -> dict[str, float]:
    """Weights under the names they are called; those of one name add up if ``names`` says so."""
    known = {entry.full for entry in entries} | {entry.name for entry in entries}
    for name in names:
        if name not in known:
            raise RequestError(
                f"mixture.file.names: {path} has no {_short(name)}; {nearest(name, known)}"
            )
    found: dict[str, float] = {}
    called: set[str] = set()
    for entry in entries:
        asked = names.get(entry.full, names.get(entry.name))
        name = entry.name if asked is None else asked
        if name in found and not (asked is not None and name in called):
            raise InputError(
                f"{entry.where}: {_short(name)} has a weight already; remove one, or say with "
                f"mixture.file.names that they add up: {{{entry.full}: ...}}"
            )
        if asked is not None:
            called.add(name)
        found[name] = found.get(name, 0.0) + entry.weight
    return found


def _weight(value: object, where: str, name: str) -> float:
    """A weight that is a finite number and not negative, given as one or as text."""
    number = math.nan
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        number = float(value)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        number = float(min(value, 2 * _MOST))
    if not 0 <= number <= _MOST:
        shown = type(value).__name__ if isinstance(value, dict | list) else _short(str(value))
        raise InputError(
            f"{where}: the weight of {_short(name)} is {shown}; give a number from 0 to 1e100"
        )
    return number


def _short(value: str) -> str:
    return repr(value if len(value) <= _SHOWN else value[: _SHOWN - 1] + "…")


def _bare(name: str) -> str:
    """A RegMix name without its ``train_``."""
    return name.removeprefix("train_")


def _olmix(path: str, text: str, run: str | None) -> Iterator[_Entry]:
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    table: list[tuple[int, list[str]]] = []
    try:
        table.extend((rows.line_num, row) for row in rows if row)
    except csv.Error as error:
        raise InputError(f"{path}:{rows.line_num}: not CSV: {error}") from error
    if len(table) < 2:
        raise InputError(f"{path}: a header with the domains and a row of weights are missing")
    header = [cell.strip() for cell in table[0][1]]
    for line, row in table:
        if len(row) != len(header):
            raise InputError(
                f"{path}:{line}: {len(row)} cells, the header has {len(header)}; one cell a column"
            )
    line, row = _row(path, header, table[1:], run)
    for name, cell in zip(header, row, strict=True):
        if name not in _METADATA:
            where = f"{path}:{line}"
            yield _Entry(where, name, _bare(name), _weight(cell, where, name))


def _row(
    path: str, header: list[str], table: list[tuple[int, list[str]]], run: str | None
) -> tuple[int, list[str]]:
    """The row of the run that is asked for, or the only one."""
    if run is None:
        if len(table) > 1:
            raise RequestError(
                f"{path} has {len(table):,} runs; say which with mixture.file.run: by run, name or "
                f"index"
            )
        return table[0]
    for column in _METADATA:
        if column not in header:
            continue
        place = header.index(column)
        rows = [one for one in table if one[1][place].strip() == run]
        if len(rows) > 1:
            raise InputError(f"{path}: lines {rows[0][0]} and {rows[1][0]} both are run {run!r}")
        if rows:
            return rows[0]
    labels = {row[header.index(c)].strip() for c in _METADATA if c in header for _, row in table}
    hint = f"; {nearest(run, labels)}" if 0 < len(labels) <= 1_000 else ""
    raise RequestError(f"mixture.file.run: {path} has no run {run!r}{hint}")


def _regmix(path: str, text: str, _run: str | None) -> Iterator[_Entry]:
    if len(text) > MAX_YAML_BYTES:
        raise InputError(f"{path} has {len(text):,} bytes; YAML has {MAX_YAML_BYTES:,} at most")
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark: Any = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "cannot be read"
        raise InputError(f"{path}{line}: not YAML: {problem}") from error
    except RecursionError as error:
        raise InputError(f"{path}: nested too deep; lines 'train_<domain>: weight' do") from error
    below = [value for key, value in _pairs(path, node) if key.value == "train"]
    pairs = list(_pairs(path, below[0] if below else node))
    if not below:  # beside `valid` and what else the training is told
        pairs = [(key, value) for key, value in pairs if key.value.startswith("train_")]
    if not pairs:
        raise InputError(f"{path}:1: write lines 'train_<domain>: weight' below 'train:'")
    for key, value in pairs:
        where = f"{path}:{key.start_mark.line + 1}"
        if not isinstance(value, yaml.ScalarNode):
            raise InputError(f"{where}: {_short(key.value)} holds no number; give its weight")
        yield _Entry(where, key.value, _bare(key.value), _weight(value.value, where, key.value))


def _pairs(path: str, node: yaml.Node | None) -> Iterator[tuple[yaml.ScalarNode, yaml.Node]]:
    """Keys and values of a mapping."""
    if not isinstance(node, yaml.MappingNode):
        line = node.start_mark.line + 1 if node is not None else 1
        raise InputError(f"{path}:{line}: write lines 'train_<domain>: weight' below 'train:'")
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise InputError(
                f"{path}:{key.start_mark.line + 1}: a key must be the name of a domain"
            )
        yield key, value


def _megatron(path: str, text: str, _run: str | None) -> Iterator[_Entry]:
    is_script = path.lower().endswith(".sh") or text.startswith("#!")
    words = [
        (f"{path}:{line}", word)
        for line, content in enumerate(text.splitlines(), 1)
        for word in _line_words(content, is_script)
    ]
    for (where, weight), (_, prefix) in zip(words[0::2], words[1::2], strict=False):
        if not _NUMBER.fullmatch(weight):
            raise InputError(
                f"{where}: {_short(weight)} stands where a weight belongs; write 'weight prefix'"
            )
        if _NUMBER.fullmatch(prefix):
            raise InputError(f"{where}: the weight {weight} has no prefix; write 'weight prefix'")
        name = _SUFFIX.sub("", prefix.rstrip("/").rpartition("/")[2], count=1) or prefix
        yield _Entry(where, prefix, name, _weight(weight, where, prefix))
    if len(words) % 2 or not words:
        where = words[-1][0] if words else path
        raise InputError(f"{where}: ends without a pair of a weight and a prefix; write both")


def _line_words(line: str, is_script: bool) -> list[str]:
    """Weights and prefixes of a line; of a script's line the pairs behind what is no number."""
    words = re.sub(r"[\"'()\\]", " ", line.partition("#")[0]).split()
    if not is_script:
        return words
    while words and not _NUMBER.fullmatch(words[0].rpartition("=")[2]):
        del words[0]
    pairs: list[str] = []
    for weight, prefix in zip(words[0::2], words[1::2], strict=False):
        if not _NUMBER.fullmatch(weight.rpartition("=")[2]) or prefix[0] in "-&|;<>$":
            break
        pairs += [weight.rpartition("=")[2], prefix]
    return pairs


def _doremi(path: str, text: str, _run: str | None) -> Iterator[_Entry]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        if len(set(keys)) < len(keys):
            twice = next(key for key in keys if keys.count(key) > 1)
            raise InputError(f"{path}: {_short(twice)} has a weight already; remove one")
        return dict(pairs)

    try:
        value = json.loads(text, object_pairs_hook=once)
    except json.JSONDecodeError as error:
        raise InputError(f"{path}:{error.lineno}: not JSON: {error.msg}") from error
    except (RecursionError, ValueError) as error:
        raise InputError(
            f"{path}: not JSON that can be read: nested too deep, or a number"
        ) from error
    weights = value.get("train_domain_weights", value) if isinstance(value, dict) else value
    if not isinstance(weights, dict) or not weights:
        raise InputError(f'{path}: write {{"train_domain_weights": {{"a domain": 0.5, ...}}}}')
    for name, weight in weights.items():
        yield _Entry(path, name, name, _weight(weight, path, name))


_READERS: dict[Kind, Callable[[str, str, str | None], Iterator[_Entry]]] = {
    "olmix": _olmix,
    "regmix": _regmix,
    "megatron": _megatron,
    "doremi": _doremi,
}
