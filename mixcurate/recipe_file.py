"""Recipe files: YAML text to a checked ``Recipe`` and back, with a line for every problem."""

from __future__ import annotations

import difflib
import re
import types
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from importlib import resources
from math import isfinite
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from mixcurate.errors import RecipeError, nearest
from mixcurate.recipe import Recipe

#: A recipe is a page of text; these only stop files that are something else, or hostile.
MAX_BYTES = 1 << 20
MAX_NODES = 100_000

Path = tuple[str | int, ...]

_NUMBER_TAG = "tag:mixcurate,2025:number"
_NUMBER = re.compile(r"^[+-]?\d+(\.\d*)?[eE][+-]?\d+$")
_TIMESTAMP_TAG = "tag:yaml.org,2002:timestamp"
_MERGE_TAG = "tag:yaml.org,2002:merge"

#: What a value had to be, by pydantic's type of error; ``{...}`` is filled from the error's context.
_WANTED = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "byte_size": "a size such as 256MB or 1GiB",
    "byte_size_unit": "a size such as 256MB or 1GiB",
    "dict_type": "a mapping",
    "finite_number": "a finite number",
    "float_parsing": "a number",
    "float_type": "a number",
    "greater_than": "greater than {gt}",
    "greater_than_equal": "at least {ge}",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "list_type": "a list",
    "literal_error": "{expected}",
    "model_type": "a mapping",
    "string_pattern_mismatch": "text that matches {pattern}",
    "string_too_long": "text of at most {max_length} characters",
    "string_too_short": "text of at least {min_length} characters",
    "string_type": "text",
    "too_long": "a list of at most {max_length}",
    "too_short": "a list of at least {min_length}",
    "tuple_type": "a list",
}

#: What usually helps, by a part of the YAML parser's message.
_SYNTAX_HINTS = {
    r"'\t'": "indent with spaces, not tabs",
    "alphabetic or numeric": "quote text that begins with * or &",
    "undefined alias": "quote text that begins with *",
    "mapping values are not allowed": "quote text that contains ': ', and check the indentation",
}


class _Refused(yaml.MarkedYAMLError):
    """Valid YAML that a recipe may not be."""


class _Loader(yaml.SafeLoader):
    """The safe loader with ``1e9`` as a number and dates as text, bounded in what aliases expand to."""

    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in pairs if tag != _TIMESTAMP_TAG]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.expanded = 0
        self.sizes: dict[int, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose a node, counting nodes as if aliases were written out."""
        before = self.expanded
        event = self.peek_event()
        node = super().compose_node(parent, index)
        if isinstance(event, yaml.AliasEvent):
            size = self.sizes.get(id(node))
            if size is None:  # The anchored node is still being composed.
                raise _Refused(problem="an alias inside its own anchor", problem_mark=event.start_mark)
            self.expanded += size
        else:
            self.expanded += 1
            self.sizes[id(node)] = self.expanded - before
        if self.expanded > MAX_NODES:
            problem = f"more than {MAX_NODES:,} values with aliases written out; not a recipe"
            raise _Refused(problem=problem, problem_mark=event.start_mark)
        return node


class _Dumper(yaml.SafeDumper):
    """The safe dumper that quotes text which ``_Loader`` would take for a number."""


def _construct_number(loader: _Loader, node: yaml.ScalarNode) -> int | float:
    text = str(loader.construct_scalar(node))
    number = float(text)
    # Decimal is exact where a float is not (1e23); huge exponents stay infinite floats.
    return int(Decimal(text)) if isfinite(number) and number.is_integer() else number


for _class in (_Loader, _Dumper):
    _class.add_implicit_resolver(_NUMBER_TAG, _NUMBER, list("+-0123456789"))
_Loader.add_constructor(_NUMBER_TAG, _construct_number)


class _Origin(NamedTuple):
    """Where a part of the recipe comes from; problems are sorted by it."""

    order: int
    """0 for the file, then 1 for the first ``--set``, and so on."""
    line: int
    label: str
    path: Path | None = None
    """What a ``--set`` names."""


class _Draft:
    """The plain value of a recipe as it is put together, and the origin of each part."""

    def __init__(self) -> None:
        self.value: Any = None
        self.origins: dict[Path, _Origin] = {}
        self.problems: list[tuple[_Origin, str]] = []
        self.spoiled: set[Path] = set()

    def report(self, origin: _Origin, path: Path, text: str) -> None:
        """Note a problem; a ``--set`` need not repeat the path that it names."""
        where = "" if path in {(), origin.path} else f"{_dotted(path)}: "
        self.problems.append((origin, f"{origin.label}: {where}{text}"))

    def origin(self, path: Path) -> _Origin:
        """Origin of the innermost known part around ``path``."""
        return next(self.origins[p] for p in _prefixes(path) if p in self.origins)

    def build(self, loader: _Loader, node: yaml.Node, path: Path, at: Callable[[int], _Origin]) -> Any:
        """The plain value of ``node``, whose parts come from the lines that ``at`` places."""
        line = node.start_mark.line + 1
        self.origins.setdefault(path, at(line))
        if isinstance(node, yaml.SequenceNode) and node.tag == loader.DEFAULT_SEQUENCE_TAG:
            return [self.build(loader, item, (*path, i), at) for i, item in enumerate(node.value)]
        if not isinstance(node, yaml.MappingNode) or node.tag != loader.DEFAULT_MAPPING_TAG:
            return self._scalar(loader, node, path, at)
        value: dict[Any, Any] = {}
        lines: dict[Any, int] = {}
        for key_node, item in self._pairs(loader, node, path, at):
            key = self._scalar(loader, key_node, path, at)
            line = key_node.start_mark.line + 1
            if isinstance(key, bool) or not isinstance(key, str | int):
                text = f"a key must be text or a whole number, got {_show(key)}{_quoting(key)}"
                self.report(at(line), path, text)
                continue
            inner = (*path, key)
            if key in lines:
                text = f"given twice, first on line {lines[key]}; remove one"
                self.report(at(line), inner, text)
                continue
            lines[key] = line
            self.origins[inner] = at(line)
            value[key] = self.build(loader, item, inner, at)
        merged = [pair for pair in node.value if pair[0].tag == _MERGE_TAG]
        for _, source in merged:
            for part in source.value if isinstance(source, yaml.SequenceNode) else [source]:
                given = self.build(loader, part, path, at)
                for key in given if isinstance(given, dict) else ():
                    value.setdefault(key, given[key])
        return value

    def _pairs(
        self, loader: _Loader, node: yaml.MappingNode, path: Path, at: Callable[[int], _Origin]
    ) -> Iterator[tuple[yaml.Node, yaml.Node]]:
        return (pair for pair in node.value if pair[0].tag != _MERGE_TAG)

    def _scalar(self, loader: _Loader, node: yaml.Node, path: Path, at: Any) -> Any:
        return None
