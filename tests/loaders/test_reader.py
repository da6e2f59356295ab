"""Parts, order and exact resume, against a plain list of the corpus's documents."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.errors import InputError
from mixcurate.loaders import CorpusReader, merge_states
from mixcurate.loaders.division import Division
from tests.loaders.made import Made, edit, first, keys, make

OPTIONS = [
    {},
    {"shuffle_buffer": 10, "seed": 3},
    {"lanes": 4},
    {"lanes": 3, "shuffle_buffer": 5},
    {"weights": {"law": 3.0, "cooking": 0.5}},
    {"weights": {"crawl": 0.0}, "by": "source", "shuffle_buffer": 7},
]
MOST = settings(max_examples=15)


def reader_of(made: Made, rank: int = 0, world_size: int = 1, **options: Any) -> CorpusReader:
    return CorpusReader(made.path, rank=rank, world_size=world_size, **options)


def together(readers: list[CorpusReader], rounds: int) -> list[str]:
    """Documents of all ranks in turn, each rank one after the other."""
    streams = [iter(reader) for reader in readers]
    return [key for _ in range(rounds) for stream in streams for key in first(stream, 1)]


def through_json(state: dict[str, Any]) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(json.dumps(state))
    return loaded


def test_documents_come_as_they_are_in_the_order_of_the_shards(made):
    assert list(reader_of(made)) == made.documents


def test_columns(made):
    wanted = ["n_tokens", "text"]
    expected = [{name: document[name] for name in wanted} for document in made.documents]
    assert list(reader_of(made, columns=wanted)) == expected
    assert list(next(iter(reader_of(made, columns=wanted)))) == wanted


def test_batches_hold_the_same_documents(made):
    for options in OPTIONS:
        batches = list(reader_of(made, **options).iter_batches(9))
        assert all(0 < batch.num_rows <= 9 for batch in batches)
        rows = [row for batch in batches for row in batch.to_pylist()]
        assert rows == list(reader_of(made, **options))


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("world_size", [2, 3, 8])
def test_ranks_share_one_sequence(made, options, world_size):
    whole = keys(reader_of(made, **options))
    for rank in range(world_size):
        mine = keys(reader_of(made, rank, world_size, **options))
        assert mine == whole[rank::world_size]
    assert len(set(whole)) == len(whole)
    if options.get("by") != "source":
        assert sorted(whole) == sorted(made.keys)


@pytest.mark.parametrize("world_size", [1, 5, 8, 71, 73])
def test_equal_parts_leave_out_the_rest_and_tell_it(made, world_size):
    parts = [
        keys(reader_of(made, rank, world_size, equal=True, shuffle_buffer=6))
        for rank in range(world_size)
    ]
    assert {len(part) for part in parts} == {72 // world_size}
    assert len({key for part in parts for key in part}) == 72 // world_size * world_size
    assert reader_of(made, 0, world_size, equal=True).left_out == 72 % world_size
    assert reader_of(made, 0, world_size).left_out == 0


@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 5), st.sampled_from(OPTIONS))
@MOST
def test_workers_share_the_documents_of_their_rank(made, world_size, workers, chunk, options):
    whole = keys(reader_of(made, **options))
    base = reader_of(made, **options)
    for rank in range(world_size):
        parts = [
            keys(base.with_division(Division(rank, world_size, worker, workers, chunk)))
            for worker in range(workers)
        ]
        mine = whole[rank::world_size]
        batches = [mine[i : i + chunk] for i in range(0, len(mine), chunk)]
        for worker, part in enumerate(parts):
            assert part == [key for batch in batches[worker::workers] for key in batch]


@pytest.mark.parametrize("options", OPTIONS)
def test_epochs(made, options):
    reader = reader_of(made, **options)
    epochs = [keys(reader) for _ in range(3)]
    assert {tuple(sorted(epoch)) for epoch in epochs} == {tuple(sorted(epochs[0]))}
    assert epochs[0] != epochs[1] != epochs[2]
    again = reader_of(made, **options)
    again.set_epoch(2)
    assert keys(again) == epochs[2]
    again.set_epoch(1)
    assert first(again, 5) == epochs[1][:5]
    again.set_epoch(1)  # it is there: it goes on
    assert keys(again) == epochs[1][5:]
    unshuffled = reader_of(made, **options | {"shuffle_shards": False, "shuffle_buffer": 0})
    assert keys(unshuffled) == keys(unshuffled)


@pytest.mark.parametrize("options", [o for o in OPTIONS if "weights" not in o])
def test_repeating_is_epochs_one_after_another(made, options):
    reader = reader_of(made, **options)
    assert first(reader_of(made, repeat=True, **options), 200)[:72] == keys(reader)
    whole = first(reader_of(made, repeat=True, **options), 216)
    assert [sorted(whole[i : i + 72]) for i in (0, 72, 144)] == [sorted(made.keys)] * 3
    assert first(reader_of(made, 2, 5, repeat=True, **options), 40) == whole[2:200:5]


def test_shuffling_stays_within_blocks_and_depends_on_seed_and_epoch(made):
    found = keys(reader_of(made, shuffle_buffer=10))
    assert found != made.keys
    for start in range(0, 72, 10):
        block = slice(start, start + 10)
        assert sorted(found[block]) == sorted(made.keys[block])
    assert found == keys(reader_of(made, shuffle_buffer=10))
    assert found != keys(reader_of(made, shuffle_buffer=10, seed=1))
    epochs = reader_of(made, shuffle_buffer=10, shuffle_shards=False)
    assert keys(epochs) != keys(epochs)


@given(
    st.sampled_from(OPTIONS),
    st.booleans(),
    st.integers(1, 4),
    st.lists(st.integers(0, 40), max_size=4),
)
@MOST
def test_the_next_document_after_resuming_is_the_one_that_would_have_come(
    made, options, repeat, world_size, cuts
):
    options = options | {"repeat": repeat}
    rank = world_size - 1
    whole_reader = reader_of(made, rank, world_size, **options)
    whole: list[str] = []
    while len(whole) < 240:
        whole += first(whole_reader, 240)
    found: list[str] = []
    state = None
    for cut in [*cuts, 80]:
        reader = reader_of(made, rank, world_size, **options)
        if state is not None:
            reader.load_state_dict(state)
        found += first(reader, cut)
        state = through_json(reader.state_dict())
    assert found == whole[: len(found)]
    assert found


@given(
    st.sampled_from(OPTIONS),
    st.lists(st.tuples(st.integers(1, 6), st.integers(0, 9)), min_size=2, max_size=4),
)
@MOST
def test_ranks_in_step_go_on_with_another_number_of_them(made, options, runs):
    options = options | {"repeat": True}
    whole = first(reader_of(made, **options), 400)
    found: list[str] = []
    state = None
    for world_size, rounds in runs:
        readers = [reader_of(made, rank, world_size, **options) for rank in range(world_size)]
        for reader in readers:
            if state is not None:
                reader.load_state_dict(state)
        found += together(readers, rounds)
        state = through_json(readers[len(found) % world_size].state_dict())
        assert readers[0].position == len(found)
    assert found == whole[: len(found)]


@given(
    st.sampled_from(OPTIONS),
    st.integers(1, 3),
    st.integers(1, 2),
    st.lists(st.integers(0, 11), min_size=6, max_size=6),
    st.integers(1, 4),
)
@MOST
def test_ranks_out_of_step_go_on_by_their_merged_states(
    made, options, world_size, workers, counts, after
):
    base = reader_of(made, **options)
    whole = keys(reader_of(made, **options))
    found, states = [], []
    divisions = itertools.product(range(world_size), range(workers))
    for (rank, worker), count in zip(divisions, counts, strict=False):
        reader = base.with_division(Division(rank, world_size, worker, workers, 2))
        found += first(reader, count)
        states.append(through_json(reader.state_dict()))
    merged = through_json(merge_states(states))
    rest = []
    for rank in range(after):
        reader = reader_of(made, rank, after, **options)
        reader.load_state_dict(merged)
        rest.append(keys(reader))
    assert sorted(found + [key for part in rest for key in part]) == sorted(whole)
    left = [key for key in whole if key not in set(found)]
    assert rest == [left[rank::after] for rank in range(after)]


def test_a_state_holds_no_data(made):
    reader = reader_of(made, weights={"law": 2.0}, repeat=True, columns=["text"])
    list(itertools.islice(reader, 5_000))
    assert len(json.dumps(reader.state_dict())) < 2_000


@pytest.mark.parametrize("options", OPTIONS)
def test_skipping_is_reading_without_text(made, options):
    for world_size in (1, 3):
        whole = keys(reader_of(made, 0, world_size, **options))
        reader = reader_of(made, 0, world_size, **options)
        assert first(reader, 4) == whole[:4]
        reader.skip(5)
        assert keys(reader) == whole[9:]


def test_a_state_after_the_end_begins_the_next_epoch(made):
    reader, again = reader_of(made, shuffle_buffer=9), reader_of(made, shuffle_buffer=9)
    list(reader)
    again.load_state_dict(through_json(reader.state_dict()))
    assert keys(again) == keys(reader)


@pytest.mark.parametrize(
    ("change", "name"),
    [({"seed": 1}, "seed"), ({"shuffle_buffer": 5}, "shuffle_buffer"), ({"lanes": 2}, "lanes")],
)
def test_a_state_of_another_reader(made, change, name):
    state = reader_of(made).state_dict()
    with pytest.raises(InputError, match=f"a reader with {name} 0|a reader with {name} 1"):
        reader_of(made, **change).load_state_dict(state)


def test_a_state_of_another_corpus(made, tmp_path):
    other = make(str(tmp_path), n_shards=3)
    with pytest.raises(InputError, match="a reader with corpus"):
        reader_of(made).load_state_dict(reader_of(other).state_dict())
    with pytest.raises(InputError, match="no state"):
        reader_of(made).load_state_dict({"version": 2})


def test_one_worker_of_several_does_not_know_the_others(made):
    reader = reader_of(made, workers=2)
    first(reader, 3)
    with pytest.raises(InputError, match="merge_states"):
        reader_of(made).load_state_dict(reader.state_dict())
    with pytest.raises(InputError, match="merge_states"):
        _ = reader.position


def test_phases(tmp_path):
    corpus = make(str(tmp_path), n_shards=4)
    edit(corpus.path, phase=["web", "web", "anneal", "anneal"])
    assert keys(reader_of(corpus, phase="anneal")) == corpus.keys[36:]
    reader = reader_of(corpus)
    list(reader)
    second = keys(reader)
    assert sorted(second[:36]) == sorted(corpus.keys[:36])
    with pytest.raises(InputError, match="no phase 'annel': did you mean 'anneal'"):
        reader_of(corpus, phase="annel")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": 3, "world_size": 3}, "rank 3 with world_size 3"),
        ({"split": "trian"}, "no split 'trian': did you mean 'train'"),
        ({"columns": ["txt"]}, "no column 'txt': did you mean 'text'"),
        ({"lanes": 0}, "lanes 0"),
        ({"shuffle_buffer": -1}, "shuffle_buffer -1"),
    ],
)
def test_options_that_cannot_be(made, options, message):
    with pytest.raises(InputError, match=message):
        CorpusReader(made.path, **options)
