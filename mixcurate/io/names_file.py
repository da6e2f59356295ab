"""The file in which a person names, merges and drops domains: ``domains.yaml``."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import xxhash
import yaml

from mixcurate.errors import InputError, nearest
from mixcurate.io import storage

#: Larger files are not read: 10,000 domains take about a tenth.
MAX_BYTES = 16 << 20
MAX_NAME = 200

_KEYS = ("id", "name", "drop")
_MOST_PROBLEMS = 20
_SHOWN = 5

_HEAD = """\
# Domains of this run, the largest first. Edit the names; give domains one name to merge them; write
# `drop: true` below a name to reject its documents. Then set in the recipe, and run cluster again:
#   cluster: {topics: {names: <this file, best a copy of it>}}
# An id stands for the clusters of a domain: a new fit gives new ones.
domains:
"""


@dataclasses.dataclass(frozen=True)
class NamedDomain:
    """What the file says of one domain."""

    id: str
    name: str | None
    """None leaves the automatic name."""
    drop: bool
    line: int


@dataclasses.dataclass(frozen=True)
class NamesFile:
    """A file of names that was read."""

    path: str
    domains: tuple[NamedDomain, ...]
    digest: str
    """Names what the file says, whatever its comments and its layout."""


@dataclasses.dataclass(frozen=True)
class AppliedNames:
    """What a file of names makes of the domains of a clustering."""

    names: list[str]
    """Name of each domain."""
    groups: npt.NDArray[np.int32]
    """int32 ``[n]``: domains of one name have one group, numbered by their first domains."""
    dropped: npt.NDArray[np.bool_]
    """bool ``[n]``: whose documents are rejected."""


def write_names(path: str, domains: Sequence[Mapping[str, Any]]) -> None:
    """Write the file for a person to edit; what was there stays as ``<path>.previous``.

    Args:
        path: where.
        domains: ``id``, ``name``, ``keywords``, ``n_documents`` and ``n_tokens`` of each, and
            ``drop`` where it is dropped.
    """
    lines = [_HEAD]
    for domain in domains:
        words = ", ".join(_on_one_line(word) for word in domain["keywords"])
        sizes = f"{domain['n_documents']:,} documents, {domain['n_tokens']:,} tokens"
        lines.append(f"  # {sizes}" + (f": {words}" if words else "") + "\n")
        lines.append(f"  - id: {_quoted(domain['id'])}\n")
        lines.append(f"    name: {_quoted(domain['name'])}\n")
        if domain.get("drop"):
            lines.append("    drop: true\n")
    if not domains:
        lines.append("  []\n")
    data = "".join(lines).encode()
    if storage.exists(path) and (older := storage.read_bytes(path)) != data:
        storage.write_bytes(f"{path}.previous", older)  # it may hold a person's work
    storage.write_bytes(path, data)


def read_names(path: str) -> NamesFile:
    """Read what a person has edited.

    Raises:
        InputError: it cannot be read, or what it says is wrong: all problems with their lines.
    """
    problems: list[str] = []
    domains: list[NamedDomain] = []
    for node in _entries(path):
        found, wrong = _entry(node)
        problems += wrong
        if found is not None:
            domains.append(found)
    first: dict[str, NamedDomain] = {}
    for domain in domains:
        before = first.setdefault(domain.id, domain)
        if before is not domain:
            problems.append(f"{domain.line}: id {domain.id!r} is on line {before.line} already")
    if problems:
        more = len(problems) - _MOST_PROBLEMS
        shown = [f"{path}:{problem}" for problem in problems[:_MOST_PROBLEMS]]
        raise InputError("\n".join(shown + [f"and {more:,} more like these"] * (more > 0)))
    said = sorted(f"{d.id}\0{d.name}\0{d.name is None}\0{d.drop}" for d in domains)
    digest = xxhash.xxh3_128_hexdigest("\n".join(said).encode())
    return NamesFile(path, tuple(domains), digest)


def apply_names(file: NamesFile, ids: Sequence[str], names: Sequence[str]) -> AppliedNames:
    """The names, merges and drops of a file, for the domains of a clustering.

    Args:
        file: what a person wrote; domains that it does not hold keep their names.
        ids: of all domains ``[n]``.
        names: their automatic names ``[n]``.

    Raises:
        InputError: the file has ids that this clustering lacks.
    """
    place = {one: number for number, one in enumerate(ids)}
    unknown = [domain for domain in file.domains if domain.id not in place]
    if unknown:
        raise InputError(_unknown_ids(file, unknown, ids, names))
    applied = list(names)
    dropped = np.zeros(len(ids), bool)
    for domain in file.domains:
        number = place[domain.id]
        applied[number] = domain.name or applied[number]
        dropped[number] = domain.drop
    group: dict[str, int] = {}
    groups = [group.setdefault(name, len(group)) for name in applied]
    return AppliedNames(applied, np.array(groups, np.int32), dropped)


def _unknown_ids(
    file: NamesFile, unknown: Sequence[NamedDomain], ids: Sequence[str], names: Sequence[str]
) -> str:
    lines = [
        f"{file.path}: {len(unknown):,} of its {len(file.domains):,} ids are no domains of this "
        f"clustering:"
    ]
    lines += [f"  line {d.line}: {d.id} {d.name or ''}".rstrip() for d in unknown[:_SHOWN]]
    lines += [f"  and {len(unknown) - _SHOWN:,} more"] * (len(unknown) > _SHOWN)
    lines += [f"It has {len(ids):,} domains:"]
    lines += [f"  {one} {name}" for one, name in list(zip(ids, names, strict=True))[:_SHOWN]]
    lines += [f"  and {len(ids) - _SHOWN:,} more"] * (len(ids) > _SHOWN)
    lines += [
        "Ids change when the clusters do: with other documents, another encoder, k, seed or merge.",
        "Remove cluster.topics.names from the recipe, run cluster, and edit the domains.yaml that "
        "it writes",
    ]
    return "\n".join(lines)


def _entries(path: str) -> Iterator[yaml.Node]:
    """The nodes of the list ``domains``; composed, not constructed, so that they have lines."""
    text = _text(path)
    try:
        root = yaml.SafeLoader(text).get_single_node()
    except RecursionError:
        raise InputError(f"{path}: nested too deeply; no file of names") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        character = f"U+{ord(text[error.position]):04X}"
        raise InputError(f"{path}:{line}: the character {character} may not be in YAML") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        fix = "quote names that hold ': ' or '#' or begin with other than a letter"
        raise InputError(f"{path}:{line}: not valid YAML: {error.problem}; {fix}") from None
    if not isinstance(root, yaml.MappingNode):
        raise InputError(f"{path}:1: no list 'domains'; run cluster without names to get a file")
    found = None
    for key, value in root.value:
        if key.value != "domains":
            close = nearest(_shown(key.value), ["domains"])
            raise InputError(f"{path}:{_line(key)}: unknown key {_shown(key.value)!r}; {close}")
        if found is not None:
            raise InputError(f"{path}:{_line(key)}: 'domains' is there twice; remove one")
        found = value
    if not isinstance(found, yaml.SequenceNode):
        line = 1 if found is None else _line(found)
        raise InputError(f"{path}:{line}: 'domains' is not a list of domains")
    yield from found.value


def _text(path: str) -> str:
    try:
        with storage.open_read(path) as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    if len(data) > MAX_BYTES:
        raise InputError(f"{path}: larger than {MAX_BYTES >> 20} MiB; no file of names")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}:{line}: not UTF-8; save it as UTF-8") from None


def _entry(node: yaml.Node) -> tuple[NamedDomain | None, list[str]]:
    """One domain, or what is wrong with it, each problem with its line in front."""
    line = _line(node)
    if not isinstance(node, yaml.MappingNode):
        return None, [f"{line}: not a domain; write '- id: …' and below it 'name: …'"]
    values: dict[str, yaml.Node] = {}
    problems = []
    for key, value in node.value:
        if key.value not in _KEYS:
            close = nearest(_shown(key.value), _KEYS)
            problems.append(f"{_line(key)}: unknown key {_shown(key.value)!r}; {close}")
        elif key.value in values:
            problems.append(f"{_line(key)}: {key.value!r} is there twice; remove one")
        values[str(key.value)] = value
    texts = {}
    for name, wanted in (("id", "an id"), ("name", "a name")):
        text = _scalar(values.get(name))
        if (name in values or name == "id") and not text:
            place = _line(values[name]) if name in values else line
            fix = "" if name == "id" else "; remove the line to keep the automatic one"
            problems.append(f"{place}: needs {wanted}{fix}")
        elif text and (len(text) > MAX_NAME or not text.isprintable()):
            place = _line(values[name])
            problems.append(f"{place}: {name} must be at most {MAX_NAME} printable characters")
        texts[name] = text
    drop = _scalar(values.get("drop")) or "false"
    if drop.lower() not in ("true", "false"):
        problems.append(f"{_line(values['drop'])}: drop must be true or false, got {drop[:40]!r}")
    if problems:
        return None, problems
    return NamedDomain(texts["id"] or "", texts["name"], drop.lower() == "true", line), []


def _scalar(node: yaml.Node | None) -> str | None:
    """A value as it is written: names such as ``2024`` and ``no`` need no quotes."""
    if not isinstance(node, yaml.ScalarNode) or node.tag == "tag:yaml.org,2002:null":
        return None
    return str(node.value).strip() or None


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _shown(value: object) -> str:
    return _on_one_line(str(value))[:40]


def _on_one_line(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)


def _quoted(text: str) -> str:
    """Text in double quotes, as YAML reads it back."""
    return yaml.safe_dump(text, default_style='"', allow_unicode=True, width=1 << 20).rstrip("\n")
