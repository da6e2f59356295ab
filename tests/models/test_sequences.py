from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from mixcurate.errors import InputError
from mixcurate.models.embedded import encoder_folder
from mixcurate.models.sequences import Sequences, TextTokenizer
from tests.models.encoding import ODD, REAL, embedded_tokenizer, sequences_of


def plain_tokenizer(max_tokens: int | None = None, direction: str = "right") -> Tokenizer:
    """The tokenizers library as it is: the oracle."""
    tokenizer = Tokenizer.from_file(f"{encoder_folder()}/tokenizer.json")
    tokenizer.no_padding()
    tokenizer.no_truncation()
    if max_tokens is not None:
        tokenizer.enable_truncation(max_tokens, direction=direction)
    return tokenizer


def rows(sequences: Sequences) -> list[list[int]]:
    return [sequences.sequence(i).tolist() for i in range(len(sequences.owners))]


class Counting:
    """A tokenizer that counts the characters it is given."""

    def __init__(self, inner: Tokenizer) -> None:
        self.inner, self.characters = inner, 0

    def __getattr__(self, name: str):
        return getattr(self.inner, name)

    def encode_batch_fast(self, texts: list[str], **options: object):
        self.characters += sum(map(len, texts))
        return self.inner.encode_batch_fast(texts, **options)


@pytest.mark.parametrize("max_tokens", [3, 16, 256, None])
def test_ids_are_those_of_the_tokenizers_library(max_tokens):
    texts = REAL[:20] + ODD
    found = embedded_tokenizer(max_tokens).tokenize(texts)
    assert rows(found) == [e.ids for e in plain_tokenizer(max_tokens).encode_batch(texts)]
    assert found.ids.dtype == np.int32
    assert found.offsets.dtype == found.owners.dtype == np.int64
    assert found.owners.tolist() == list(range(len(texts)))
    assert found.documents == len(texts)
    assert found.lengths.tolist() == [len(row) for row in rows(found)]


def test_a_tokenizer_that_pads_and_truncates_is_set_anew():
    tokenizer = plain_tokenizer(5)
    tokenizer.enable_padding(length=300)
    found = TextTokenizer(tokenizer, None).tokenize(["one", "one two three four five six"])
    assert found.lengths.tolist() == [3, 8]


def test_the_prompt_is_read_before_each_document():
    found = embedded_tokenizer(8, prompt="query: ").tokenize(["one", "", "one two " * 20])
    expected = plain_tokenizer(8).encode_batch(
        ["query: one", "query: ", "query: " + "one two " * 20]
    )
    assert rows(found) == [e.ids for e in expected]


def test_special_tokens_are_left_out_when_the_model_has_none():
    found = embedded_tokenizer(4, special_tokens=False).tokenize(["one two three four five", ""])
    oracle = plain_tokenizer(4).encode("one two three four five", add_special_tokens=False)
    assert rows(found) == [oracle.ids, []]
    assert len(oracle.ids) == 4


def test_truncation_on_the_left_keeps_the_end():
    text = " ".join(map(str, range(3_000)))
    found = embedded_tokenizer(16, truncation_side="left").tokenize([text])
    assert rows(found) == [plain_tokenizer(16, "left").encode(text).ids]
    assert rows(found)[0][1:-1] == plain_tokenizer().encode(text).ids[-15:-1]


@pytest.mark.parametrize("max_tokens", [3, 7, 64])
def test_windows_cover_the_document_in_order(max_tokens):
    texts = [REAL[0], "", "one", REAL[1] * 3]
    found = embedded_tokenizer(max_tokens, windows=10_000).tokenize(texts)
    assert found.documents == 4
    assert (np.diff(found.owners) >= 0).all()
    assert (found.lengths <= max_tokens).all()
    for document, text in enumerate(texts):
        inner = [rows(found)[i][1:-1] for i in np.flatnonzero(found.owners == document)]
        whole = plain_tokenizer().encode(text, add_special_tokens=False).ids
        assert [token for window in inner for token in window] == whole
        assert all(len(window) == max_tokens - 2 for window in inner[:-1])


def test_a_document_within_one_window_has_one_sequence():
    found = embedded_tokenizer(256, windows=4).tokenize(["short", "also short"])
    assert rows(found) == rows(embedded_tokenizer(256).tokenize(["short", "also short"]))


@pytest.mark.parametrize("windows", [2, 3, 5])
def test_fewer_windows_are_spread_from_the_first_to_the_last(windows):
    text = " ".join(map(str, range(2_000)))
    every = rows(embedded_tokenizer(34, windows=10_000).tokenize([text]))
    some = rows(embedded_tokenizer(34, windows=windows).tokenize([text]))
    places = [every.index(window) for window in some]
    assert len(places) == windows
    assert (places[0], places[-1]) == (0, len(every) - 1)
    steps = np.diff(places)
    assert steps.min() >= 1
    assert steps.max() - steps.min() <= 1


@pytest.mark.parametrize("max_tokens", [1, 2])
@pytest.mark.parametrize("windows", [1, 4])
def test_no_room_between_special_tokens_is_refused(max_tokens, windows):
    with pytest.raises(InputError, match=rf"max_tokens: {max_tokens} is too small: 2 of them"):
        embedded_tokenizer(max_tokens, windows=windows)


def test_one_token_is_enough_without_special_tokens():
    found = embedded_tokenizer(1, special_tokens=False).tokenize(["one two", ""])
    assert found.lengths.tolist() == [1, 0]


def test_only_the_start_of_five_million_characters_is_read():
    counting = Counting(plain_tokenizer())
    text = "rivers and bridges, " * 250_000
    found = TextTokenizer(counting, 256).tokenize([text, "one"])
    assert rows(found)[0] == plain_tokenizer(256).encode(text[:10_000]).ids
    assert counting.characters < 5_000


@pytest.mark.parametrize(
    "text",
    [
        " " * 4_000 + "a sentence after many blanks",
        "x" * 20_000 + " and a word",  # one unknown token
        ("x" * 150 + " ") * 400,  # unknown words that are cut before the model is full
        "x" * 340 + " " + "ab" * 75 + " the end",  # cut within a word that is unknown as a whole
        "这" * 20_000,  # no blanks at all
        "\u3000".join(["字"] * 5_000),
        "a\n" * 20_000,
    ],
)
@pytest.mark.parametrize("max_tokens", [16, 256])
def test_cutting_long_texts_changes_no_token(text, max_tokens):
    found = embedded_tokenizer(max_tokens).tokenize(["before", text, "after"])
    assert rows(found)[1] == plain_tokenizer(max_tokens).encode(text).ids


PIECES = [
    "word",
    "x" * 150,
    "ab" * 75,
    "这是",
    " " * 50,
    "🙂",
    "\n",
    "don't",
    "a,b",
    "\t",
    "e\u0301",
]


PAIR = plain_tokenizer(), plain_tokenizer()


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.one_of(st.text(max_size=30), st.tuples(st.sampled_from(PIECES), st.integers(1, 40))),
        max_size=12,
    ),
    st.integers(3, 40),
)
def test_any_text_gives_the_tokens_of_the_whole_text(parts, max_tokens):
    text = " ".join(part if isinstance(part, str) else part[0] * part[1] for part in parts)
    ours, theirs = PAIR
    theirs.enable_truncation(max_tokens)
    found = TextTokenizer(ours, max_tokens).tokenize([text])
    assert rows(found) == [theirs.encode(text).ids]


@pytest.mark.parametrize("lone", ["\ud800", "a \udfff b", "\ud83d \ude42"])
def test_lone_surrogates_are_read_as_question_marks(lone):
    found = embedded_tokenizer().tokenize(["one", lone, "deux é"])
    asked = "".join("?" if "\ud800" <= character <= "\udfff" else character for character in lone)
    assert rows(found) == rows(embedded_tokenizer().tokenize(["one", asked, "deux é"]))


def test_a_long_text_with_a_lone_surrogate_behind_the_cut_is_read_whole_if_need_be():
    text = " " * 10_000 + "behind \ud800 the blanks"
    found = embedded_tokenizer(16).tokenize([text])
    assert rows(found) == [plain_tokenizer().encode("behind ? the blanks").ids]


@pytest.mark.parametrize("windows", [1, 4])
def test_no_texts_give_no_sequences(windows):
    found = embedded_tokenizer(windows=windows).tokenize([])
    assert (len(found.ids), found.offsets.tolist(), found.documents) == (0, [0], 0)


IDS = st.lists(st.lists(st.integers(1, 99), max_size=9), min_size=1, max_size=12)


@given(IDS, st.booleans(), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_padding_is_that_of_a_loop(ids, left, random):
    sequences = sequences_of(ids)
    chosen = random.sample(range(len(ids)), random.randint(1, len(ids)))
    found, mask = sequences.padded(np.array(chosen), 0, left=left)
    longest = max(len(ids[row]) for row in chosen)
    for line, row in enumerate(chosen):
        empty = [0] * (longest - len(ids[row]))
        ones = [1] * len(ids[row])
        assert found[line].tolist() == (empty + ids[row] if left else ids[row] + empty)
        assert mask[line].tolist() == (empty + ones if left else ones + empty)
    assert found.dtype == mask.dtype == np.int64


def test_padding_uses_the_id_that_is_given():
    found, _ = sequences_of([[1], [2, 3]]).padded(np.array([0, 1]), 77)
    assert found.tolist() == [[1, 77], [2, 3]]


@given(st.lists(st.integers(1, 4), min_size=1, max_size=10), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_progress_of_the_parts_adds_up_to_the_whole(windows, random):
    owners = [document for document, count in enumerate(windows) for _ in range(count)]
    sequences = sequences_of([[7] * random.randint(0, 5) for _ in owners], owners)
    order = np.array(random.sample(range(len(owners)), len(owners)))
    parts = [sequences.progress(order[start : start + 3]) for start in range(0, len(order), 3)]
    assert sum(documents for documents, _ in parts) == sequences.documents
    assert sum(tokens for _, tokens in parts) == len(sequences.ids)
