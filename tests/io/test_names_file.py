from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.errors import InputError
from mixcurate.io import names_file
from mixcurate.io.names_file import apply_names, read_names, write_names

IDS = ["0123456789abcdef", "12345678901234567890123456789012", "1e5", "ffff"]
NAMES = ["goal-match-team", "oven-flour", "puck-ice", "star"]


def domains(**changes: Any) -> list[dict[str, Any]]:
    return [
        {"id": one, "name": name, "keywords": name.split("-"), "n_documents": 10, "n_tokens": 2_000}
        | changes
        for one, name in zip(IDS, NAMES, strict=True)
    ]


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "domains.yaml")


def edited(path: str, text: str) -> names_file.NamesFile:
    Path(path).write_text(text, encoding="utf-8")
    return read_names(path)


def problem(path: str, text: str | bytes) -> str:
    Path(path).write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(InputError) as raised:
        read_names(path)
    return str(raised.value)


def test_what_is_written_is_read(path):
    write_names(path, domains())
    found = read_names(path)
    assert [(d.id, d.name, d.drop) for d in found.domains] == [
        (one, name, False) for one, name in zip(IDS, NAMES, strict=True)
    ]
    text = Path(path).read_text()
    assert "# 10 documents, 2,000 tokens: goal, match, team" in text
    assert text.splitlines()[found.domains[1].line - 1].strip().startswith("- id:")


def test_edits_survive_being_written_and_read(path):
    write_names(path, domains())
    text = Path(path).read_text().replace('"oven-flour"', "Cooking: at home # and away")
    text = text.replace('"puck-ice"', "Sports\n    drop: true").replace('"star"', "2024")
    found = apply_names(edited(path, text.replace("Cooking: at", "Cooking at")), IDS, NAMES)
    assert found.names == ["goal-match-team", "Cooking at home", "Sports", "2024"]
    again = [
        one | {"name": name, "drop": drop}
        for one, name, drop in zip(domains(), found.names, found.dropped, strict=True)
    ]
    write_names(path, again)
    twice = apply_names(read_names(path), IDS, NAMES)
    assert twice.names == found.names
    assert twice.dropped.tolist() == [False, False, True, False]


@given(st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=5))
@settings(max_examples=100, deadline=None)
def test_any_printable_name_is_read_as_it_was_written(tmp_path_factory, names):
    names = [" ".join(name.split()) for name in names]
    names = [name for name in names if name.isprintable() and name]
    path = str(tmp_path_factory.mktemp("names") / "domains.yaml")
    rows = [
        {"id": str(n), "name": name, "keywords": [name, "\n- x"], "n_documents": 1, "n_tokens": 1}
        for n, name in enumerate(names)
    ]
    write_names(path, rows)
    assert [domain.name for domain in read_names(path).domains] == names


def test_no_domains_can_be_written(path):
    write_names(path, [])
    assert read_names(path).domains == ()


def test_what_a_person_may_have_edited_is_not_lost(path):
    write_names(path, domains())
    write_names(path, domains())
    assert not Path(f"{path}.previous").exists()
    Path(path).write_text("my work")
    write_names(path, domains())
    assert Path(f"{path}.previous").read_text() == "my work"


def test_the_digest_goes_by_what_is_said(path):
    write_names(path, domains())
    first = read_names(path).digest
    write_names(path, domains(n_documents=99)[::-1])
    assert read_names(path).digest == first
    write_names(path, domains(name="other"))
    assert read_names(path).digest != first
    write_names(path, domains(drop=True))
    assert read_names(path).digest != first


def test_equal_names_merge_and_absent_domains_keep_theirs(path):
    file = edited(path, "domains:\n- {id: ffff, name: Sport}\n- {id: 1e5, name: Sport}\n")
    found = apply_names(file, IDS, NAMES)
    assert found.names == ["goal-match-team", "oven-flour", "Sport", "Sport"]
    assert found.groups.tolist() == [0, 1, 2, 2]
    assert found.groups.dtype == np.int32
    assert not found.dropped.any()


def test_a_domain_may_be_dropped_without_a_name(path):
    found = apply_names(edited(path, "domains:\n- id: ffff\n  drop: true\n"), IDS, NAMES)
    assert found.names == NAMES
    assert found.dropped.tolist() == [False, False, False, True]


def test_a_name_may_be_that_of_a_domain_that_is_not_in_the_file(path):
    found = apply_names(edited(path, "domains:\n- {id: ffff, name: puck-ice}\n"), IDS, NAMES)
    assert found.groups.tolist() == [0, 1, 2, 2]


def test_ids_of_another_clustering_are_told_with_the_fix(path):
    text = "domains:\n" + "".join(f"- {{id: old{n}, name: Name {n}}}\n" for n in range(7))
    with pytest.raises(InputError) as raised:
        apply_names(edited(path, text), IDS, NAMES)
    said = str(raised.value)
    assert "7 of its 7 ids" in said
    assert "line 2: old0 Name 0" in said
    assert said.count("old") == 5
    assert "and 2 more" in said
    assert "It has 4 domains:\n  0123456789abcdef goal-match-team" in said
    assert "Remove cluster.topics.names" in said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("domains:\n- {id: a, nmae: y}\n", ":2: unknown key 'nmae'; did you mean 'name'"),
        ("domains: [{id: a, name: x}, {id: a, name: y}]\n", ":1: id 'a' is on line 1 already"),
        ("domain: []\n", ":1: unknown key 'domain'; did you mean 'domains'"),
        ("domains:\n- {id: a, name: x}\n\n- {id: a, name: y}\n", ":4: id 'a' is on line 2 already"),
        ("domains:\n- {id: a, name: ''}\n", ":2: needs a name"),
        ("domains:\n- {id: a, name: }\n", ":2: needs a name"),
        ("domains:\n- {id: a, name: [x]}\n", ":2: needs a name"),
        ("domains:\n- {id: a, name: ' '}\n", ":2: needs a name"),
        ("domains:\n- {name: x}\n", ":2: needs an id"),
        ("domains:\n- {id: a, name: x, name: y}\n", ":2: 'name' is there twice"),
        ("domains:\n- {id: a, drop: maybe}\n", ":2: drop must be true or false, got 'maybe'"),
        ("domains:\n- just text\n", ":2: not a domain"),
        ("domains: 3\n", ":1: 'domains' is not a list"),
        ("domains: []\ndomains: []\n", ":2: 'domains' is there twice"),
        ("", ":1: no list 'domains'"),
        ("- a\n", ":1: no list 'domains'"),
        ("domains:\n- {id: a, name: x: y: z\n", ":2: not valid YAML"),
        ("domains:\n\t- id: a\n", ":2: not valid YAML"),
        ("domains:\n- {id: a, name: *b}\n", ":2: not valid YAML"),
        ("domains:\n- {id: a, name: !!python/object:os.system x}\n", None),
        ("a\n---\nb\n", ":2: not valid YAML"),
        (b"domains:\n- {id: a, name: \xff}\n", ":2: not UTF-8"),
        (b"domains:\n- {id: a, name: \x07}\n", ":2: the character U+0007"),
        ("domains:\n- {id: a, name: " + "x" * 201 + "}\n", ":2: name must be at most 200"),
        ('domains:\n- {id: a, name: "a\\nb"}\n', ":2: name must be at most 200 printable"),
        ("[" * 100_000, "nested too deeply"),
        ("{" * 100_000, "nested too deeply"),
        ("domains: &a [*a]\n", ":1: not a domain"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_line(path, text, words):
    if words is None:
        assert edited(path, text).domains[0].name == "x"  # a tag is not obeyed
    else:
        assert words in problem(path, text)


def test_all_problems_are_told_at_once_but_not_thousands(path):
    said = problem(path, "domains:\n" + "- {name: x}\n" * 1_000)
    assert len(said.splitlines()) == 21
    assert "and 980 more" in said


def test_a_file_that_is_not_there_or_too_large_is_told(path, monkeypatch):
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_names(path)
    monkeypatch.setattr(names_file, "MAX_BYTES", 1 << 20)
    assert "larger than 1 MiB" in problem(path, "#" * (1 << 20) + "\n")


def test_aliases_are_not_written_out(path):
    rows = [
        "a0: &a0 [x]",
        *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)),
    ]
    assert "unknown key 'a0'" in problem(path, "\n".join(rows))


def test_names_may_be_kept_in_an_object_store():
    path = "memory://names-of-a-test/domains.yaml"
    write_names(path, domains())
    assert len(read_names(path).domains) == 4
