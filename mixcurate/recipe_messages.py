"""What to say of a recipe that is wrong: where, what was wanted, what was got, and the fix."""

from __future__ import annotations

from math import isfinite
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from mixcurate.errors import nearest
from mixcurate.recipe import Recipe

#: Keys and list positions from the top of the recipe.
KeyPath = tuple[str | int, ...]
#: What a value had to be, by pydantic's type of error; ``{...}`` comes from the error's context.
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
BOOLEAN = "YAML reads a bare no/yes/on/off as true/false"


def real_path(value: Any, error: ErrorDetails) -> tuple[KeyPath, bool]:
    """Where in ``value`` an error is, and whether pydantic was in one branch of a union.

    pydantic's locations also name branches (``int``, ``[key]``), which no reader wrote.
    """
    path: list[str | int] = []
    branch = False
    *outer, last = error["loc"] or ("",)
    for part in outer if error["type"] == "missing" else error["loc"]:
        inside = isinstance(value, dict) and part in value
        if inside or (isinstance(value, list) and isinstance(part, int) and part < len(value)):
            value = value[part]
            path.append(part)
        else:
            branch = True
    return (*path, last) if error["type"] == "missing" else tuple(path), branch


def message(path: KeyPath, errors: list[ErrorDetails]) -> str:
    """What is wrong at ``path``, and the fix, from all that pydantic said of it."""
    first = errors[0]
    kind, value = first["type"], first.get("input")
    if kind in {"extra_forbidden", "invalid_key"}:
        fields = [n for t in types_at(path[:-1]) if _is_model(t) for n in t.model_fields]
        return f"unknown key; {nearest(str(path[-1]), fields)}"
    if kind == "missing":
        return "missing; the list is too short" if isinstance(path[-1], int) else "missing"
    if not all(error["type"] in _WANTED for error in errors):
        plain = (error["msg"].removeprefix("Value error, ") for error in errors)
        return "; or ".join(dict.fromkeys(plain)).replace("\n", " ")
    context = [{k: _show_bound(v) for k, v in e.get("ctx", {}).items()} for e in errors]
    wanted = [_WANTED[e["type"]].format(**ctx) for e, ctx in zip(errors, context, strict=True)]
    must = "the key must be" if "[key]" in first["loc"] else "must be"
    fix = _fix(path, {e["type"] for e in errors}, value)
    return f"{must} {' or '.join(dict.fromkeys(wanted))}, got {show(value)}{fix}"


def _fix(path: KeyPath, kinds: set[str], value: Any) -> str:
    """What to write instead, where it can be told."""
    fix = ""
    if value is False and "literal_error" in kinds and type(None) in types_at(path):
        fix = f"; write null to switch it off: {BOOLEAN}"
    elif isinstance(value, bool) and kinds & {"string_type", "literal_error"}:
        fix = f"; quote it: {BOOLEAN}"
    elif isinstance(value, int | float) and "string_type" in kinds:
        fix = "; quote it"
    elif value is None and "model_type" in kinds:
        fix = "; remove the key to take its defaults"
    elif isinstance(value, str) and "list_type" in kinds:
        fix = f"; write [{short(value)}]"
    elif isinstance(value, str) and kinds & {"int_parsing", "float_parsing"}:
        fix = "; write it like 1_000_000 or 1e6"
    elif isinstance(value, str) and "literal_error" in kinds:
        words = [w for t in types_at(path) if get_origin(t) is Literal for w in get_args(t)]
        near = nearest(value, [word for word in words if isinstance(word, str)])
        fix = f"; {near}" if near.startswith("did") else ""  # All words are listed already.
    return fix


def types_at(path: KeyPath) -> list[Any]:
    """The types that a recipe allows at ``path``, unions taken apart."""
    kinds: list[Any] = [Recipe]
    for key in path:
        kinds = [inner for kind in kinds for inner in _types_inside(kind, key)]
    return kinds


def _types_inside(kind: Any, key: str | int) -> list[Any]:
    if _is_model(kind):
        field = kind.model_fields.get(key)
        return _alternatives(field.annotation) if field else []
    outer, inner = get_origin(kind), get_args(kind)
    if outer is tuple and Ellipsis not in inner:
        return _alternatives(inner[key]) if isinstance(key, int) and key < len(inner) else []
    if outer in {list, tuple}:
        return _alternatives(inner[0])
    return _alternatives(inner[1]) if outer is dict else []


def _alternatives(annotation: Any) -> list[Any]:
    if get_origin(annotation) is Annotated:
        return _alternatives(get_args(annotation)[0])
    if get_origin(annotation) in {Union, UnionType}:
        return [kind for part in get_args(annotation) for kind in _alternatives(part)]
    return [annotation]


def _is_model(kind: Any) -> bool:
    return get_origin(kind) is None and isinstance(kind, type) and issubclass(kind, BaseModel)


def dotted(path: KeyPath) -> str:
    """A key path as people write it."""
    return ".".join(short(str(key)) for key in path)


def short(text: str) -> str:
    """``text`` on one line of bounded length."""
    text = text if text.isprintable() else repr(text)[1:-1]
    return text if len(text) <= 80 else text[:77] + "..."


def show(value: Any) -> str:
    """A value as a reader of YAML knows it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return f"'{short(value)}'"
    if isinstance(value, dict):
        return "a mapping" if value else "an empty mapping"
    if isinstance(value, list):
        return f"a list of {len(value)}" if value else "an empty list"
    huge = isinstance(value, int) and value.bit_length() > 256  # `str` refuses very long ones.
    return "a very large number" if huge else short(str(value))


def _show_bound(value: Any) -> Any:
    whole = isinstance(value, float) and isfinite(value) and value.is_integer()
    return int(value) if whole else value
