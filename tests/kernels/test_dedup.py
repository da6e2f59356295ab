from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.kernels import dedup, quality
from mixcurate.kernels.cleaning import DedupParams
from mixcurate.kernels.dedup import NEAR, OWN, SAME_ID, SAME_TEXT, SAME_URL
from tests.documents import real_documents

ALL = DedupParams(url=True)
SMALL = DedupParams.model_validate({"near": {"ngram": 2, "bands": 2, "rows": 3}})


def table(texts: list[str], urls: list[str | None] | None = None) -> pa.Table:
    columns = {
        "id": pa.array([f"d{i}" for i in range(len(texts))], pa.string()),
        "text": pa.array(texts, pa.large_string()),
        "url": pa.array(urls or [None] * len(texts), pa.string()),
    }
    return pa.table(columns)


def keys(texts: list[str], urls: list[str | None] | None = None, params=ALL) -> np.ndarray:
    kind = dedup.key_type(params, own_ids=True)
    return dedup.document_keys(table(texts, urls), kind, params.near.ngram if params.near else 1)


def kinds_shared(first: np.void, second: np.void) -> int:
    """The bits of the kinds of keys that two documents share."""
    pair = np.array([first, second])
    return sum({kind for kind, values in dedup.columns(pair) if values[0] == values[1] != 0})


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("The cat sat.", "the  CAT\nsat", SAME_TEXT | NEAR),
        ("The cat sat.", "The cat sat.", SAME_TEXT | NEAR),
        ("ﬁne caf\u00e9", "fine cafe\u0301", SAME_TEXT | NEAR),
        ("日本語", "日 本 語", SAME_TEXT | NEAR),
        ("The cat sat.", "The sat cat.", 0),
        ("a b", "ab", 0),
        ("!!!", "???", 0),
        ("!!!", "!!!", SAME_TEXT),
        ("", "", SAME_TEXT),
    ],
)
def test_what_counts_as_the_same_text(first, second, same):
    one, two = keys([first, second])
    assert kinds_shared(one, two) == same


def test_an_edited_document_is_near_and_another_one_is_not():
    long, other = (" ".join(d["text"] for d in real_documents(20)[i : i + 10]) for i in (0, 10))
    words = long.split()
    edited = " ".join([*words[:200], "changed", *words[201:]])
    one, two, three = keys([long, edited, other])
    assert kinds_shared(one, two) == NEAR
    assert kinds_shared(one, three) == 0


def test_urls_meet_in_normal_form_and_nothing_meets_by_having_none():
    found = keys(list("abcd"), ["https://www.e.org/a/", "http://e.org/a#x", None, ""])
    assert kinds_shared(found[0], found[1]) == SAME_URL
    assert found["url_1"].tolist()[2:] == [0, 0]


@given(st.lists(st.text(max_size=12), max_size=8), st.integers(1, 9))
@settings(deadline=None, max_examples=40)
def test_keys_do_not_depend_on_neighbours_chunks_or_slices(texts, size):
    whole = keys(texts, params=SMALL)
    alone = [keys([text], params=SMALL)[0] for text in texts]
    for name in ("words_1", "near_1_2_3"):
        assert whole[name].tolist() == [one[name].tolist() for one in alone]
    cut = pa.concat_tables(
        [table(texts)[i : i + size] for i in range(0, len(texts), size)] or [table([])]
    )
    assert dedup.document_keys(cut, whole.dtype, 2).tobytes() == whole.tobytes()
    dedup._SLICE_BYTES, before = 7, dedup._SLICE_BYTES
    try:
        assert keys(texts, params=SMALL).tobytes() == whole.tobytes()
    finally:
        dedup._SLICE_BYTES = before


def test_names_of_keys_tell_how_they_are_made():
    near = {"near": {"ngram": 3, "bands": 4, "rows": 2}}
    assert not dedup.key_type(None, own_ids=False).names
    assert dedup.key_type(None, own_ids=True).names == ("id",)
    kind = dedup.key_type(DedupParams.model_validate(near | {"exact": False}), own_ids=False)
    assert kind.names == ("near_1_3_2",)
    assert kind.itemsize == 32
    assert dedup.key_type(ALL, own_ids=True).names == ("id", "words_1", "url_1", "near_1_5_8")
    found = [kind for kind, _ in dedup.columns(np.zeros(1, dedup.key_type(ALL, own_ids=True)))]
    assert found == [SAME_ID, SAME_TEXT, SAME_URL, *[NEAR] * 14]


MEMBERS = st.lists(
    st.tuples(
        st.integers(0, 2),  # group
        st.sampled_from([0, 1, OWN, OWN]),
        st.integers(0, 2),  # score
        st.integers(0, 1),  # content
        st.sampled_from(["a", "B", "é", "aa", ""]),
        st.integers(0, 2**64 - 1),  # place
    ),
    max_size=12,
    unique_by=lambda member: member[-1],
)


@given(MEMBERS)
@settings(deadline=None)
def test_the_survivor_is_the_best_by_content_then_id(rows):
    members = np.zeros(len(rows), dedup.MEMBER)
    for name, column in zip(
        ("group", "origin", "score", "content", "", "place"), zip(*rows, strict=True), strict=False
    ):
        if name:
            members[name] = column
    found = dedup.survivors(members, pa.array([row[4] for row in rows], pa.string()))
    for row, best in zip(rows, found.tolist(), strict=True):
        rivals = [other for other in rows if other[0] == row[0]]
        expected = min(rivals, key=lambda r: (r[1], -r[2], r[3], r[4].encode(), r[5]))
        assert rows[best] == expected


def test_scores_are_bytes_or_quality_in_thousandths():
    n_bytes = pa.table({"n_bytes": pa.array([5, 2**40], pa.int64())})
    assert dedup.scores(n_bytes, "longest").tolist() == [5, 2**40]
    good = dict.fromkeys(quality.INPUTS, 0.0) | {
        "n_words": 1000.0,
        "mean_word_length": 5.0,
        "alpha_words": 1.0,
        "punctuated_lines": 1.0,
    }
    rows = {f"signal_{n}": pa.array([v, 0.0], pa.float32()) for n, v in good.items()}
    assert dedup.score_columns("quality") == [f"signal_{name}" for name in quality.INPUTS]
    best, worst = dedup.scores(pa.table(rows), "quality").tolist()
    assert best == 1000
    assert worst < best


@pytest.mark.parametrize(
    ("kinds", "reason"),
    [
        (SAME_ID | NEAR, "duplicate_id"),
        (SAME_TEXT | SAME_URL | NEAR, "exact_duplicate"),
        (SAME_URL | NEAR, "duplicate_url"),
        (NEAR, "near_duplicate"),
    ],
)
def test_the_strongest_link_is_the_reason(kinds, reason):
    found, detail = dedup.why(kinds, "d7 of ../old")
    assert found == reason
    assert detail.endswith(" document d7 of ../old, which is kept")
