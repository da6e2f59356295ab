"""Recipe files: YAML text to a checked ``Recipe`` and back, with a line for every problem."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from importlib import resources
from typing import Any, NamedTuple, get_origin

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from mixcurate.errors import RecipeError
from mixcurate.recipe import Recipe
from mixcurate.recipe_messages import (
    BOOLEAN,
    KeyPath,
    dotted,
    message,
    real_path,
    short,
    show,
    types_at,
)
from mixcurate.recipe_yaml import Dumper, Loader, pairs, read_text, scalar, syntax


class _Origin(NamedTuple):
    """Where a part of the recipe comes from; problems are sorted by it."""

    order: int
    """0 for the file, then 1 for the first ``--set``, and so on."""
    line: int
    label: str
    path: KeyPath | None = None
    """What a ``--set`` names."""


class _Draft:
    """The plain value of a recipe as it is put together, and the origin of each part."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.value: Any = None
        self.origins: dict[KeyPath, _Origin] = {(): self.at(1)}
        self.problems: list[tuple[_Origin, str]] = []
        self.spoiled: set[KeyPath] = set()

    def at(self, line: int) -> _Origin:
        """The origin of a line of the file."""
        return _Origin(0, line, f"{self.file}:{line}")

    def origin(self, path: KeyPath, *, inside: bool = False) -> _Origin:
        """The origin of the innermost known part around ``path``, or the last ``--set`` inside."""
        if inside and (below := [o for p, o in self.origins.items() if p[: len(path)] == path]):
            last = max(below, key=lambda origin: origin.order)
            if last.order:
                return last
        return next(self.origins[p] for p in _prefixes(path) if p in self.origins)

    def report(self, origin: _Origin, path: KeyPath, text: str) -> None:
        """Note a problem; a ``--set`` need not repeat the path that it names."""
        where = "" if path in {(), origin.path} else f"{dotted(path)}: "
        self.problems.append((origin, f"{origin.label}: {where}{text}"))

    def read(self, text: str) -> None:
        """Take the text of the file."""
        loader = Loader(text)
        node = loader.get_single_node()
        if isinstance(node, yaml.MappingNode):
            self.value = self.build(loader, node, (), None)
        else:
            what = "the file is empty" if node is None else "the top level is not a mapping"
            text = f"{what}; a recipe is lines of 'key: value' (`mixcurate init DIR` writes one)"
            self.report(self.at(1 if node is None else node.start_mark.line + 1), (), text)

    def build(
        self, loader: Loader, node: yaml.Node, path: KeyPath, override: _Origin | None
    ) -> Any:
        """The plain value of ``node``; its parts come from their lines, or from ``override``."""
        origin = override or self.at(node.start_mark.line + 1)
        self.origins.setdefault(path, origin)
        if isinstance(node, yaml.SequenceNode) and node.tag == loader.DEFAULT_SEQUENCE_TAG:
            items = enumerate(node.value)
            return [self.build(loader, item, (*path, i), override) for i, item in items]
        if isinstance(node, yaml.MappingNode) and node.tag == loader.DEFAULT_MAPPING_TAG:
            return self._mapping(loader, node, path, override)
        value, reason = scalar(loader, node)
        if reason:
            self.report(origin, path, f"cannot be read: {reason}")
            self.spoiled.add(path)
        return value

    def _mapping(
        self, loader: Loader, node: yaml.MappingNode, path: KeyPath, override: _Origin | None
    ) -> dict[str | int, Any]:
        value: dict[str | int, Any] = {}
        lines: dict[str | int, int] = {}
        for key_node, item, merged in pairs(node):
            line = key_node.start_mark.line + 1
            origin = override or self.at(line)
            key, reason = scalar(loader, key_node)
            if reason:
                self.report(origin, path, f"a key cannot be read: {reason}")
            elif isinstance(key, bool) or not isinstance(key, str | int):
                text = f"a key must be text or a whole number, got {show(key)}; quote it"
                self.report(origin, path, text)
            elif key not in lines:
                lines[key] = line
                self.origins[(*path, key)] = origin
                value[key] = self.build(loader, item, (*path, key), override)
            elif not merged:  # What `<<` brings in gives way to the mapping's own keys.
                text = f"given twice, first on line {lines[key]}; remove one"
                self.report(origin, (*path, key), text)
        return value

    def override(self, order: int, text: str) -> None:
        """Apply one ``--set``."""
        dotted, equals, value = text.partition("=")
        names = dotted.strip().split(".")
        keys = tuple(int(n) if re.fullmatch(r"0|[1-9]\d{0,8}", n) else n for n in names)
        origin = _Origin(order, 0, f"--set {short(text)}", keys)
        if not equals or "" in names:
            self.report(origin, (), "not of the form key=value, such as mixture.max_epochs=2")
            return
        try:
            loader = Loader(value)
            node = loader.get_single_node()
            if (place := self._place(keys, origin)) is None:
                return
            box, path = place
            for known in [known for known in self.origins if known[: len(path)] == path]:
                del self.origins[known]
            origin = self.origins[path] = origin._replace(path=path)
            _put(box, path[-1], node and self.build(loader, node, path, origin))
        except (yaml.YAMLError, RecursionError) as error:
            self.report(origin, (), syntax(error, value)[1])

    def _place(self, keys: KeyPath, origin: _Origin) -> tuple[Any, KeyPath] | None:
        """The container that ``keys`` end in, made where absent, and the keys as it spells them."""
        box = self.value
        path: KeyPath = ()
        for depth, name in enumerate(keys):
            key = name
            if isinstance(box, dict):
                if name not in box and str(name) in box:
                    key = str(name)
                inner = box.get(key)
            elif isinstance(box, list) and isinstance(key, int) and key <= len(box):
                inner = box[key] if key < len(box) else None
            else:
                self.report(origin, path, f"{show(box)} has no {short(str(key))!r} inside")
                return None
            path = (*path, key)
            if depth + 1 == len(keys):
                return box, path
            if inner is None:
                inner = [] if any(get_origin(t) is list for t in types_at(path)) else {}
                _put(box, key, inner)
                self.origins[path] = origin
            box = inner
        return None

    def check(self) -> Recipe:
        """The recipe, or all problems in the order of their lines."""
        self._check_booleans()
        recipe = None
        try:
            recipe = Recipe.model_validate(self.value)
        except ValidationError as error:
            self._explain(error.errors(include_url=False))
        if recipe is None or self.problems:
            self.problems.sort(key=lambda problem: problem[0][:2])
            raise RecipeError([text for _, text in self.problems])
        return recipe

    def _check_booleans(self) -> None:
        """Report ``k: yes``, which pydantic would read as 1."""
        for path, value in _leaves(self.value, ()):
            if isinstance(value, bool):
                kinds = [t for t in types_at(path) if isinstance(t, type)]
                if bool not in kinds and any(issubclass(t, int | float) for t in kinds):
                    text = f"must be a number, got {show(value)}: {BOOLEAN}"
                    self.report(self.origin(path), path, text)
                    self.spoiled.add(path)

    def _explain(self, errors: list[ErrorDetails]) -> None:
        """Turn pydantic's errors into one problem per offender."""
        groups: dict[KeyPath, list[tuple[ErrorDetails, bool]]] = {}
        for error in errors:
            path, branch = real_path(self.value, error)
            groups.setdefault(path, []).append((error, branch))
        for path, group in groups.items():
            inner = any(p != path and p[: len(path)] == path for p in groups)
            if inner and all(branch for _, branch in group):
                continue  # The other members of a union say no more than the one that came near.
            whole = group[0][0]["type"] == "value_error"
            spoiled = any(p in self.spoiled for p in _prefixes(path))
            if spoiled or (whole and any(s[: len(path)] == path for s in self.spoiled)):
                continue  # Reported already, and what was put in its place is not the user's.
            origin = self.origin(path, inside=whole)
            self.report(origin, path, message(path, [error for error, _ in group]))


def load_recipe(path: str, overrides: Sequence[str] = ()) -> Recipe:
    """The checked recipe in the YAML file ``path``, with ``key.sub=value`` overrides applied.

    Raises one ``RecipeError`` with every problem, each on a line that names the file and line, or
    the ``--set``, that caused it.
    """
    draft = _Draft(path)
    try:
        draft.read(text := read_text(path))
    except (yaml.YAMLError, RecursionError) as error:
        place, reason = syntax(error, text)
        raise RecipeError([f"{path}{place}: {reason}"]) from None
    if isinstance(draft.value, dict):
        for order, text in enumerate(overrides, 1):
            draft.override(order, text)
        return draft.check()
    raise RecipeError([text for _, text in draft.problems])


def dump_recipe(recipe: Recipe) -> str:
    """YAML of the recipe with every default filled in; ``load_recipe`` reads it back as equal."""
    value = _plain(recipe.model_dump())
    return yaml.dump(value, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=100)


def recipe_schema() -> dict[str, object]:
    """JSON schema of a recipe, for editors that check YAML while it is typed."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Recipe.model_json_schema(),
        "title": "mixcurate recipe",
    }


def starter_recipe(name: str) -> str:
    """A commented recipe for the corpus ``name`` that is ready to be edited."""
    pattern = next(m.pattern for m in Recipe.model_fields["name"].metadata if hasattr(m, "pattern"))
    if not re.fullmatch(pattern, name):
        raise RecipeError([f"the name must be text that matches {pattern}, got {show(name)}"])
    text = resources.files("mixcurate").joinpath("starter_recipe.yaml").read_text("utf-8")
    return text.replace("@NAME@", name)


def _put(box: Any, key: str | int, value: Any) -> None:
    if isinstance(box, list) and key == len(box):
        box.append(value)
    else:
        box[key] = value


def _leaves(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves(item, (*path, key))
    else:
        yield path, value


def _prefixes(path: KeyPath) -> Iterator[KeyPath]:
    return (path[:length] for length in range(len(path), -1, -1))


def _plain(value: Any) -> Any:
    """``value`` of the types that YAML has: no tuples, no subclasses of int."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else value
