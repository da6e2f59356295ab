from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.errors import InputError
from mixcurate.models.embedded import encoder_folder
from mixcurate.models.encoders import EncodeStats
from mixcurate.models.resolve import load
from mixcurate.models.torch_backend import TorchBackend
from mixcurate.models.torch_lanes import budget_for, token_budget_batches
from tests.models.encoding import (
    ODD,
    REAL,
    copied_model,
    cosines,
    embed,
    sequences_of,
    silent,
    spec,
)

TEXTS = REAL[:4] + ODD


def test_vectors_are_those_of_sentence_transformers(torch_fp32, reference):
    vectors = embed(torch_fp32, REAL + ODD, 25)
    assert vectors.shape == reference.shape == (72, torch_fp32.dimension)
    assert vectors.dtype == np.float32
    assert cosines(vectors, reference).min() >= 0.9999
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_bf16_keeps_the_direction_of_real_documents(reference):
    found = cosines(embed(load(spec(precision="bf16"), threads=2), REAL[:16]), reference[:16])
    assert found.min() >= 0.98
    assert found.mean() >= 0.995


def test_bf16_changes_bits(reference):
    found = embed(load(spec(precision="bf16"), threads=2), ["one"])
    assert np.abs(found[0] - reference[60 + ODD.index("one")]).max() > 1e-4


def test_one_and_two_threads_give_the_same_bytes():
    for budget in (64, None):
        one, two = (load(spec(batch_tokens=budget), threads) for threads in (1, 2))
        assert embed(one, TEXTS).tobytes() == embed(two, TEXTS).tobytes()


def test_the_same_window_gives_the_same_bytes_whatever_came_before(torch_fp32):
    first = embed(torch_fp32, TEXTS)
    both = list(torch_fp32.encode([REAL[30:33], TEXTS], EncodeStats()))
    assert both[1].tobytes() == first.tobytes()


def test_row_i_belongs_to_text_i_in_any_order(torch_fp32, reference):
    order = np.random.default_rng(1).permutation(72)[:24]
    vectors = embed(torch_fp32, [(REAL + ODD)[i] for i in order])
    assert cosines(vectors, reference[order]).min() >= 0.9999


@pytest.mark.parametrize("budget", [1, 50, 100_000])
def test_the_size_of_a_batch_changes_no_direction(budget, reference):
    vectors = embed(load(spec(batch_tokens=budget), threads=2), ODD)
    assert cosines(vectors, reference[60:]).min() >= 0.9999


def test_padded_tokens_are_those_of_the_batches():
    encoder, stats = load(spec(batch_tokens=100), threads=2), EncodeStats()
    list(encoder.encode([TEXTS], stats))
    lengths = encoder.tokenize(TEXTS).lengths
    padded = sum(len(rows) * lengths[rows].max() for rows in token_budget_batches(lengths, 100))
    assert stats.padded_tokens == padded >= stats.tokens == lengths.sum()


def test_documents_are_cut_to_the_tokens_that_were_asked_for():
    encoder, stats = load(spec(max_tokens=8), threads=1), EncodeStats()
    assert encoder.max_tokens == 8
    (vectors,) = encoder.encode([["one two three four five six " + "x " * 50] * 2], stats)
    same = embed(encoder, ["one two three four five six", "one two three four five seven"])
    assert stats.tokens == 16
    assert cosines(vectors, same)[0] > 0.9999
    assert cosines(vectors, same)[1] < 0.9999


def test_a_folder_is_a_model(torch_fp32):
    vectors = embed(load(spec(model=encoder_folder()), threads=2), TEXTS)
    assert vectors.tobytes() == embed(torch_fp32, TEXTS).tobytes()


def broken_model(tmp_path, name: str, row: int | None) -> str:
    """The embedded model with values that are not finite in one of its tensors."""
    from safetensors.numpy import load_file, save_file

    path = copied_model(tmp_path / "model") / "model.safetensors"
    tensors = load_file(path)
    tensors[name][slice(None) if row is None else row] = np.nan
    save_file(tensors, path, {"format": "pt"})
    return str(path.parent)


def test_a_model_that_is_not_finite_for_plain_text_is_refused(tmp_path):
    model = broken_model(tmp_path, "encoder.layer.3.output.LayerNorm.weight", None)
    with pytest.raises(InputError, match="not finite for 3 of 3 plain texts"):
        load(spec(model=model), threads=1)


def test_a_document_that_is_not_finite_becomes_zeros_and_harms_no_other(tmp_path, torch_fp32):
    row = int(torch_fp32.tokenize(["zebra"]).ids[1])
    encoder = load(
        spec(model=broken_model(tmp_path, "embeddings.word_embeddings.weight", row)), threads=2
    )
    texts, stats = ["fine", "a zebra", "fine as well", "zebra"], EncodeStats()
    (vectors,) = encoder.encode([texts], stats)
    assert stats.not_finite == 2
    assert not vectors[[1, 3]].any()
    np.testing.assert_allclose(vectors[[0, 2]], embed(torch_fp32, texts)[[0, 2]], atol=1e-6)


@pytest.fixture
def small(torch_fp32, monkeypatch) -> TorchBackend:
    """A backend that has memory for 1,000 tokens, and gives each sequence the sum of its ids."""
    import torch

    backend = load(spec(batch_tokens=16_000), threads=2)._backend
    launched: list[int] = []

    def launch(ids: np.ndarray, mask: np.ndarray) -> torch.Tensor:
        launched.append(ids.size)
        if ids.size > 1_000:
            raise torch.cuda.OutOfMemoryError
        vectors = np.zeros((len(ids), backend.dimension), np.float32)
        vectors[:, 0], vectors[:, 1] = (ids * mask).sum(axis=1), mask.sum(axis=1)
        return torch.from_numpy(vectors)

    backend._launch, backend.launched = launch, launched
    return backend


def random_sequences(count: int, longest: int):
    """Of any length, and many of the greatest, as truncated documents are."""
    rng = np.random.default_rng(count)
    lengths = np.minimum(rng.integers(1, 2 * longest, count), longest)
    return [rng.integers(1, 9, length).tolist() for length in lengths]


def test_batches_that_do_not_fit_are_halved_and_none_is_lost(small):
    rows, beats = random_sequences(500, 200), []
    encoded = small.submit(sequences_of(rows), lambda *beat: beats.append(beat))()
    assert encoded.vectors[:, 0].tolist() == [sum(row) for row in rows]
    assert encoded.vectors[:, 1].tolist() == [len(row) for row in rows]
    assert np.sum(beats, axis=0).tolist() == [500, sum(map(len, rows))]
    assert encoded.padded_tokens == sum(size for size in small.launched if size <= 1_000)
    assert max(small.launched) > 10_000


def test_the_budget_is_halved_down_to_a_floor(small):
    small.submit(sequences_of(random_sequences(500, 200)), silent)()
    assert small._budget == 4_096
    small.launched.clear()
    small.submit(sequences_of(random_sequences(500, 200)), silent)()
    assert max(small.launched) <= 4_096


def test_the_budget_is_half_of_what_did_not_fit(small, monkeypatch):
    small._pool._max_workers = 1
    inner = small._launch
    import torch

    def launch(ids: np.ndarray, mask: np.ndarray) -> torch.Tensor:
        if ids.size > 9_000:
            raise torch.cuda.OutOfMemoryError
        return inner(ids[:0], mask[:0]).new_zeros((len(ids), small.dimension))

    small._launch = launch
    small.submit(sequences_of([[1] * 100] * 1_000), silent)()  # six batches of 16,000 and one
    assert small._budget == 8_000


def test_a_budget_that_was_asked_for_is_never_raised(small):
    small._budget = 1_500
    small.submit(sequences_of([[1] * 100] * 50), silent)()
    assert small._budget == 1_500


def test_a_sequence_that_does_not_fit_alone_is_an_error(small):
    import torch

    wait = small.submit(sequences_of([[1] * 10, [1] * 1_001, [1] * 10]), silent)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        wait()


def test_sequences_without_tokens_become_zeros(torch_fp32):
    one = [101, 2028, 102]
    backend, beats = torch_fp32._backend, []
    encoded = backend.submit(sequences_of([[], one, [], []]), lambda *beat: beats.append(beat))()
    assert not encoded.vectors[[0, 2, 3]].any()
    np.testing.assert_allclose(encoded.vectors[1], embed(torch_fp32, ["one"])[0], atol=1e-6)
    assert np.sum(beats, axis=0).tolist() == [4, 3]
    assert not backend.submit(sequences_of([[], []]), silent)().vectors.any()


@given(st.integers(0, 1 << 38), st.floats(0, 1e9), st.integers(6, 14), st.integers(0, 6))
@settings(max_examples=200, deadline=None)
def test_the_budget_is_a_power_of_two_that_fits(free, per_token, least, more):
    low, high = 1 << least, 1 << (least + more)
    budget = budget_for(free, per_token, least=low, most=high)
    assert low <= budget <= high
    assert budget & (budget - 1) == 0
    room = 0.3 * free  # two windows in 0.6 of it
    if low < budget:
        assert budget * max(per_token, 1) <= room * (1 + 1e-9)
    if budget < high:
        assert 2 * budget * max(per_token, 1) > room * (1 - 1e-9)


def test_more_memory_never_gives_a_smaller_budget():
    budgets = [budget_for(1 << power, 50_000, least=4_096, most=131_072) for power in range(20, 40)]
    assert budgets == sorted(budgets)
    assert (budgets[0], budgets[-1]) == (4_096, 131_072)


@given(st.lists(st.integers(0, 300), max_size=60), st.integers(1, 1_000))
@settings(max_examples=50, deadline=None)
def test_batches_hold_every_row_once_and_keep_the_budget(lengths, budget):
    array = np.array(lengths, np.int64)
    batches = list(token_budget_batches(array, budget))
    assert sorted(row for rows in batches for row in rows) == list(range(len(lengths)))
    for rows in batches:
        assert len(rows) >= 1
        assert array[rows].max() * len(rows) <= budget or len(rows) == 1
    longest = [int(array[rows].max()) for rows in batches]
    assert longest == sorted(longest, reverse=True)


@given(st.lists(st.integers(1, 300), min_size=1, max_size=60), st.integers(1, 1_000))
@settings(max_examples=50, deadline=None)
def test_a_batch_is_closed_only_when_it_is_full(lengths, budget):
    array = np.array(lengths, np.int64)
    batches = list(token_budget_batches(array, budget))
    for rows, following in itertools.pairwise(batches):
        with_one_more = array[rows].max() * (len(rows) + 1)
        real = array[rows].sum() + array[following[0]]
        assert with_one_more > budget or with_one_more > 1.03 * real


@pytest.mark.parametrize("most", [256, 512])
@pytest.mark.parametrize(
    ("documents", "budget"),
    # windows and budgets of a CPU and a GPU, and a part that is smaller than a window
    [(2_048, 1_024), (8_192, 65_536), (8_192, 131_072), (500, 65_536)],
)
def test_little_of_a_window_is_padding(documents, budget, most):
    drawn = np.random.default_rng(documents).lognormal(5.5, 1, documents)
    lengths = np.clip(drawn, 3, most).astype(np.int64)
    padded = sum(len(rows) * lengths[rows].max() for rows in token_budget_batches(lengths, budget))
    assert 1 - lengths.sum() / padded < 0.03
