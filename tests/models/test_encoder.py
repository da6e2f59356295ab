from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest

from mixcurate.errors import InputError
from mixcurate.models.encoder import Encoder
from mixcurate.models.encoders import Beat, Encoded, EncodeStats
from mixcurate.models.resolve import load
from mixcurate.models.sequences import Sequences
from tests.models.encoding import ODD, REAL, embed, embedded_tokenizer, needs_openvino, silent, spec

DIMENSION = 8


def stub_vectors(sequences: Sequences) -> np.ndarray:
    """Row i is made of the tokens of sequence i alone."""
    rows = []
    for index in range(len(sequences.owners)):
        ids = sequences.sequence(index).astype(np.float64)
        rows.append([np.sin(ids * (k + 1)).sum() + k for k in range(DIMENSION)])
    return np.array(rows, np.float32).reshape(-1, DIMENSION)


class StubBackend:
    """Vectors from token ids; knows how much was handed over before results were asked for."""

    dimension, window, lanes = DIMENSION, 4, 2

    def __init__(self, *, normalises: bool = False, ahead: int = 1, poison: int = -1) -> None:
        self.normalises, self.ahead, self.poison = normalises, ahead, poison
        self.submitted = self.finished = self.most_waiting = 0

    def submit(self, sequences: Sequences, beat: Beat) -> Callable[[], Encoded]:
        self.submitted += 1
        self.most_waiting = max(self.most_waiting, self.submitted - self.finished)

        def wait() -> Encoded:
            self.finished += 1
            vectors = stub_vectors(sequences)
            if self.normalises:
                vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            for index in range(len(vectors)):
                if self.poison in sequences.sequence(index):
                    vectors[index, index % DIMENSION] = [np.nan, np.inf, -np.inf][index % 3]
            beat(*sequences.progress(np.arange(len(sequences.owners))))
            return Encoded(vectors, len(sequences.ids) + 7, 0.25)

        return wait


def stub(backend: StubBackend | None = None, max_tokens: int = 16, **options: object) -> Encoder:
    backend = backend or StubBackend()
    return Encoder(spec(), embedded_tokenizer(max_tokens, **options), backend)


def oracle(texts: list[str], max_tokens: int = 16) -> np.ndarray:
    return stub_vectors(embedded_tokenizer(max_tokens).tokenize(texts))


@pytest.mark.parametrize("ahead", [0, 1, 4])
def test_one_array_per_batch_in_order(ahead):
    batches = [REAL[:3], [], ODD, ["one"], [], REAL[3:8]]
    found = list(stub(StubBackend(ahead=ahead)).encode(batches, EncodeStats()))
    assert len(found) == len(batches)
    for vectors, texts in zip(found, batches, strict=True):
        assert vectors.dtype == np.float32
        assert vectors.shape == (len(texts), DIMENSION)
        np.testing.assert_array_equal(vectors, oracle(texts))


def test_no_batches_give_nothing():
    stats = EncodeStats()
    assert list(stub().encode([], stats)) == []
    assert (stats.documents, stats.tokens, stats.padded_tokens) == (0, 0, 0)


@pytest.mark.parametrize("ahead", [0, 1, 4])
def test_batches_are_read_no_further_than_the_backend_asks(ahead):
    backend = StubBackend(ahead=ahead)
    encoder = stub(backend)
    backend.submitted = backend.finished = backend.most_waiting = 0
    read = 0

    def batches():
        nonlocal read
        for _ in range(10):
            read += 1
            yield ["one", "two"]

    for done, _ in enumerate(encoder.encode(batches(), EncodeStats()), start=1):
        assert read == min(10, done + ahead)
    assert backend.most_waiting == ahead + 1


def test_stats_are_added_up_over_calls():
    encoder, stats = stub(), EncodeStats(documents=100, tokens=1_000, padded_tokens=2_000)
    batches = [REAL[:3], ODD, ["one"]]
    tokens = sum(len(embedded_tokenizer(16).tokenize(texts).ids) for texts in batches)
    for _ in range(2):
        list(encoder.encode(batches, stats))
    documents = sum(map(len, batches))
    assert stats.documents == 100 + 2 * documents
    assert stats.tokens == 1_000 + 2 * tokens
    assert stats.padded_tokens == 2_000 + 2 * (tokens + 3 * 7)
    assert stats.not_finite == 0
    assert stats.forward_seconds == pytest.approx(2 * 3 * 0.25 / StubBackend.lanes)
    assert stats.tokenize_seconds > 0
    assert stats.wait_seconds >= 0


@pytest.mark.parametrize("fixture", ["torch_fp32", "openvino_fp32"])
def test_progress_adds_up_to_the_stats(fixture, request):
    encoder: Encoder = request.getfixturevalue(fixture)
    beats: list[tuple[int, int]] = []
    inside = threading.Lock()

    def on_progress(documents: int, tokens: int) -> None:
        assert inside.acquire(blocking=False), "called from two threads at a time"
        beats.append((documents, tokens))
        inside.release()

    stats = EncodeStats()
    batches = [REAL[:5], [], ODD]
    list(encoder.encode(batches, stats, on_progress))
    tokens = sum(len(embedded_tokenizer().tokenize(texts).ids) for texts in batches)
    assert stats.documents == sum(documents for documents, _ in beats) == 5 + len(ODD)
    assert stats.tokens == sum(tokens for _, tokens in beats) == tokens
    assert stats.padded_tokens >= stats.tokens
    assert stats.forward_seconds > 0


def test_progress_with_windows_counts_each_document_once():
    beats: list[tuple[int, int]] = []
    stats = EncodeStats()
    encoder = load(spec(max_tokens=16, long_documents="mean_of_windows"), threads=2)
    list(encoder.encode([REAL[:4], ["one", ""]], stats, lambda *beat: beats.append(beat)))
    assert sum(documents for documents, _ in beats) == stats.documents == 6
    assert sum(tokens for _, tokens in beats) == stats.tokens > 4 * 16


def test_values_that_are_not_finite_become_zeros_and_are_counted():
    word = embedded_tokenizer().tokenize(["zebra"]).ids[1]
    encoder, stats = stub(StubBackend(poison=int(word))), EncodeStats()
    texts = ["one", "a zebra", "two", "zebra zebra", "", "zebra"]
    (found,) = encoder.encode([texts], stats)
    expected = oracle(texts)
    expected[[1, 3, 5]] = 0
    np.testing.assert_array_equal(found, expected)
    assert stats.not_finite == 3
    assert stats.documents == 6


def test_a_window_that_is_not_finite_makes_zeros_of_its_document_alone():
    word = int(embedded_tokenizer().tokenize(["zebra"]).ids[1])
    encoder, stats = stub(StubBackend(poison=word), max_tokens=8, windows=4), EncodeStats()
    texts = ["one " * 20, "one " * 20 + "zebra", "two"]
    (found,) = encoder.encode([texts], stats)
    assert stats.not_finite == 1
    assert not found[1].any()
    np.testing.assert_array_equal(
        found[[0, 2]], embed(stub(max_tokens=8, windows=4), texts)[[0, 2]]
    )


def test_a_model_that_fails_on_plain_text_is_refused():
    word = int(embedded_tokenizer().tokenize(["river sentence"]).ids[2])
    with pytest.raises(InputError) as error:
        stub(StubBackend(poison=word))
    assert "gives values that are not finite for 1 of 3 plain texts" in str(error.value)
    assert "try embed.precision: fp32" in str(error.value)


def windows_by_hand(texts: list[str], max_tokens: int, windows: int, normalise: bool) -> np.ndarray:
    sequences = embedded_tokenizer(max_tokens, windows=windows).tokenize(texts)
    each = stub_vectors(sequences).astype(np.float64)
    if normalise:
        each /= np.linalg.norm(each, axis=1, keepdims=True)
    means = []
    for document in range(len(texts)):
        total, weight = np.zeros(DIMENSION), 0
        for index, owner in enumerate(sequences.owners):
            if owner == document:
                length = len(sequences.sequence(index))
                total, weight = total + each[index] * length, weight + length
        mean = total / weight
        means.append(mean / np.linalg.norm(mean) if normalise else mean)
    return np.array(means)


@pytest.mark.parametrize("normalises", [False, True])
@pytest.mark.parametrize("windows", [2, 5, 16])
def test_windows_are_averaged_by_their_length(normalises, windows):
    texts = [REAL[0], "", "one", REAL[1] * 2, "one two three four five six seven eight nine ten"]
    encoder = stub(StubBackend(normalises=normalises), windows=windows)
    (found,) = encoder.encode([texts], EncodeStats())
    assert found.dtype == np.float32
    np.testing.assert_allclose(
        found, windows_by_hand(texts, 16, windows, normalises), rtol=2e-5, atol=1e-5
    )


@pytest.mark.parametrize("normalises", [False, True])
def test_a_document_of_one_window_is_as_without_windows_whatever_its_neighbours(normalises):
    short = ["", "one", "two words", "a few more words than that"]
    alone = embed(stub(StubBackend(normalises=normalises)), short)
    batch = [short[0], REAL[0], *short[1:3], REAL[1], short[3]]
    found = embed(stub(StubBackend(normalises=normalises), windows=4), batch)
    assert found[[0, 2, 3, 5]].tobytes() == alone.tobytes()


@pytest.mark.parametrize("backend", ["torch", pytest.param("openvino", marks=needs_openvino)])
def test_windows_of_a_model_are_averaged_by_their_length(backend):
    cut = load(spec(backend, max_tokens=32), threads=2)
    windowed = load(
        spec(backend, max_tokens=32, long_documents="mean_of_windows", max_windows=4), threads=2
    )
    texts = [REAL[0], "short", REAL[1], REAL[2]]
    sequences = windowed.tokenize(texts)
    assert np.bincount(sequences.owners).max() == 4
    each = windowed._backend.submit(sequences, silent)().vectors.astype(np.float64)
    found = embed(windowed, texts)
    for document in range(len(texts)):
        mine = sequences.owners == document
        mean = (each[mine] * sequences.lengths[mine][:, None]).sum(axis=0)
        np.testing.assert_allclose(found[document], mean / np.linalg.norm(mean), atol=1e-6)
    first = embed(cut, texts)
    assert np.abs(found[0] - first[0]).max() > 0.01
    np.testing.assert_allclose(found[1], first[1], atol=1e-6)
    if backend == "openvino":
        assert found[1].tobytes() == first[1].tobytes()
