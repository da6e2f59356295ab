"""Weights that change while a corpus is read."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.errors import InputError
from mixcurate.loaders import CorpusReader, merge_states
from tests.loaders.made import Document, Made, first, keys

NAMES = ["law", "sports & <i>games</i>", "cooking"]
MOST = settings(max_examples=12)
FACTORS = st.fixed_dictionaries(
    {}, optional={name: st.sampled_from([0.0, 0.5, 1, 4]) for name in NAMES[:2]}
)


def reader_of(made: Made, rank: int = 0, world_size: int = 1, **options: Any) -> CorpusReader:
    return CorpusReader(made.path, rank=rank, world_size=world_size, **options)


def tokens(documents: list[Document], by: str = "domain_name") -> Counter[str]:
    found: Counter[str] = Counter()
    for document in documents:
        found[document[by]] += document["n_tokens"]
    return found


def within_a_document(made: Made, found: Counter[str], factors: dict[str, float], by: str) -> bool:
    held = tokens(made.documents, by)
    due = {name: held[name] * factors.get(name, 1) for name in held}
    total, longest = sum(found.values()), max(d["n_tokens"] for d in made.documents)
    return all(
        abs(found[name] - total * due[name] / sum(due.values()))
        <= longest / 2 + len(held) * longest / 2 * due[name] / sum(due.values())
        for name in held
    )


def test_shares_follow_the_weights(made):
    for by, column in (("domain", "domain_name"), ("source", "source")):
        factors = {"law": 4.0, "cooking": 0.0} if by == "domain" else {"books": 0.25}
        reader = reader_of(made, weights=factors, by=by, repeat=True)
        documents: list[Document] = []
        for document in itertools.islice(reader, 500):
            documents.append(document)
            assert within_a_document(made, tokens(documents, column), factors, column)


def test_each_domain_keeps_its_own_order_and_its_own_epochs(made):
    reader = reader_of(made, weights={"law": 3.0}, repeat=True, shuffle_shards=False)
    documents = list(itertools.islice(reader, 400))
    for name in NAMES:
        mine = keys(d for d in documents if d["domain_name"] == name)
        whole = keys(d for d in made.documents if d["domain_name"] == name)
        assert mine == (whole * 20)[: len(mine)]
        assert len(mine) > len(whole)


def test_weights_of_one_are_the_corpus_own_shares(made):
    documents = list(itertools.islice(reader_of(made, weights={}, repeat=True), 300))
    assert within_a_document(made, tokens(documents), {}, "domain_name")


def test_a_number_is_as_good_as_a_name(made):
    by_name = first(reader_of(made, weights={"cooking": 5.0}), 72)
    assert first(reader_of(made, weights={2: 5.0}), 72) == by_name


def test_an_epoch_without_repeats_has_every_document_once(made):
    reader = reader_of(made, weights={"law": 0.25})
    found = keys(reader)
    assert sorted(found) == sorted(made.keys)
    assert found != made.keys
    assert sorted(keys(reader)) == sorted(found)


def test_a_paused_domain_goes_on_where_it_was(made):
    reader = reader_of(made, repeat=True, shuffle_shards=False)
    documents = list(itertools.islice(reader, 20))
    reader.set_weights({"law": 0})
    pause = list(itertools.islice(reader, 30))
    assert "law" not in tokens(pause)
    reader.set_weights({})
    documents += itertools.islice(reader, 40)
    law = [d for d in made.documents if d["domain_name"] == "law"]
    mine = keys(d for d in documents if d["domain_name"] == "law")
    assert mine == (keys(law) * 5)[: len(mine)]
    assert len(mine) > len(law) / 2


def test_a_change_within_a_loop_holds_for_the_next_document(made):
    reader = reader_of(made, repeat=True)
    found = []
    for number, document in enumerate(reader, 1):
        found.append(document)
        if number == 20:
            reader.set_weights({"law": 0, "cooking": 0})
        if number == 40:
            break
    assert keys(found[:20]) == made.keys[:20]
    assert set(tokens(found[20:])) == {NAMES[1]}


def changed(
    reader: CorpusReader, changes: list[tuple[int, dict[str, float]]], ahead: bool
) -> CorpusReader:
    """Ask for changes at positions, all at once; or none of them."""
    if ahead:
        for position, factors in changes:
            reader.set_weights(factors, at=position)
    return reader


@given(
    st.lists(st.tuples(st.integers(0, 12), FACTORS), min_size=1, max_size=3),
    st.integers(1, 4),
    st.sampled_from([0, 7]),
    st.booleans(),
)
@MOST
def test_all_ranks_change_together_and_told_before_or_then(made, steps, world_size, shuffle, ahead):
    """One rank that is told all beforehand has the same sequence as ranks told step by step."""
    options = {"repeat": True, "shuffle_buffer": shuffle}
    changes = [
        (sum(n for n, _ in steps[: i + 1]) * world_size, f) for i, (_, f) in enumerate(steps)
    ]
    alone = changed(reader_of(made, **options), changes, ahead=True)
    total = changes[-1][0] + 20 * world_size
    whole = first(alone, total)
    found = []
    for rank in range(world_size):
        reader = changed(reader_of(made, rank, world_size, **options), changes, ahead)
        mine: list[str] = []
        for count, factors in steps:
            mine += first(reader, count)
            if not ahead:
                reader.set_weights(factors)
        found.append(mine + first(reader, 20))
    assert found == [whole[rank::world_size] for rank in range(world_size)]


@given(
    st.lists(st.tuples(st.integers(0, 12), FACTORS), min_size=2, max_size=4),
    st.integers(1, 3),
    st.sampled_from([0, 7]),
)
@MOST
def test_resuming_between_changes_changes_nothing(made, steps, world_size, shuffle):
    options = {"repeat": True, "shuffle_buffer": shuffle}
    for rank in range(world_size):
        whole = reader_of(made, rank, world_size, **options)
        parts = reader_of(made, rank, world_size, **options)
        for count, factors in steps:
            expected = first(whole, count)
            state = json.loads(json.dumps(parts.state_dict()))
            parts = reader_of(made, rank, world_size, **options)
            parts.load_state_dict(state)
            assert first(parts, count) == expected
            for reader in (whole, parts):
                reader.set_weights(factors)
        assert first(parts, 20) == first(whole, 20)


def test_states_before_and_after_a_change_merge(made):
    options = {"repeat": True, "columns": ["id", "copy"]}
    whole = reader_of(made, **options)
    whole.set_weights({"law": 0}, at=20)
    readers = [reader_of(made, rank, 2, **options) for rank in range(2)]
    found = []
    for reader, count in zip(readers, (4, 19), strict=True):
        reader.set_weights({"law": 0}, at=20)
        found += first(reader, count)
    after = reader_of(made, **options)
    after.load_state_dict(merge_states([reader.state_dict() for reader in readers]))
    expected = first(whole, 60)
    found += first(after, 60 - 23)
    assert sorted(found) == sorted(expected)
    readers[0].set_weights({"law": 2})
    with pytest.raises(InputError, match="n_changes"):
        merge_states([reader.state_dict() for reader in readers])


def test_positions_that_were_passed(made):
    reader = reader_of(made, rank=1, world_size=2, repeat=True)
    first(reader, 10)
    assert reader.position == 20
    for position in (0, 19):
        with pytest.raises(InputError, match=f"position {position} on: it has been passed"):
            reader.set_weights({}, at=position)
    reader.set_weights({}, at=20)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"lw": 2}, "no domain 'lw'; did you mean 'law'"),
        ({7: 2}, "no domain 7; valid: "),
        ({"law": -1}, "'law' has -1"),
        ({"law": float("nan")}, "'law' has nan"),
        (dict.fromkeys(NAMES, 0), "no domain with documents has a factor above zero"),
    ],
)
def test_weights_that_cannot_be(made, weights, message):
    with pytest.raises(InputError, match=message):
        reader_of(made, weights=weights)


def test_options_that_exclude_weights(made):
    with pytest.raises(InputError, match="'lanes'"):
        reader_of(made, lanes=2, weights={})
    with pytest.raises(InputError, match="'equal' needs 'repeat'"):
        reader_of(made, equal=True, weights={})
    assert keys(reader_of(made, equal=True)) == made.keys
