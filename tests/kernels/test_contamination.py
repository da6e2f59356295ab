from __future__ import annotations

import json
import random
from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mixcurate.errors import InputError
from mixcurate.kernels.contamination import Hits, cut, find, hit_table
from mixcurate.kernels.contamination_index import (
    ContaminationIndex,
    Items,
    build_index,
    gather_items,
    require_searchable,
)
from mixcurate.kernels.words import normalise
from mixcurate.tables import HITS
from tests.documents import real_documents

EVERY: dict[str, Any] = {"template_items": 10**9, "template_share": 1.0}


def column(texts: list[str]) -> pa.Array:
    return pa.array(texts, pa.large_string())


def words_of(text: str) -> list[str]:
    return normalise(column([text]))[0].as_py().split()


def index_of(
    *sets: list[str],
    ngram: int = 3,
    min_words: int = 2,
    template_items: int = 10,
    template_share: float = 0.01,
) -> ContaminationIndex:
    sizes = [len(items) for items in sets]
    items = Items(
        text=column([item for items in sets for item in items]),
        set=np.repeat(np.arange(len(sets)), sizes).astype(np.int32),
        file=np.repeat(np.arange(len(sets)), sizes).astype(np.int32),
        position=np.concatenate([np.arange(size) for size in sizes]).astype(np.int64),
    )
    return build_index(
        items,
        [f"set{number}" for number in range(len(sets))],
        [f"evaluation/{number}.jsonl" for number in range(len(sets))],
        ngram=ngram,
        min_words=min_words,
        template_items=template_items,
        template_share=template_share,
    )


def grams(words: list[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]


def evidence(sets: list[list[str]], n: int, least: int, limits: tuple[int, float]) -> list[set]:
    """Which n-grams are evidence of each item, as sets of tuples of words."""
    found: list[set] = []
    for items in sets:
        words = [words_of(item) for item in items]
        fresh = [words.index(item) == i for i, item in enumerate(words)]
        mine = [
            set(grams(item, n)) if new and len(item) >= n else set()
            for item, new in zip(words, fresh, strict=True)
        ]
        shared = Counter(gram for item in mine for gram in item)
        most = max(limits[0], int(limits[1] * sum(fresh)))
        for item, new, own in zip(words, fresh, mine, strict=True):
            whole = {tuple(item)} if new and least <= len(item) < n else set()
            found.append({gram for gram in own if shared[gram] <= most} | whole)
    return found


def expected(text: str, items: list[set], n: int, least: float) -> tuple[dict, set[int]]:
    """The brute force: matched n-grams and overlap by item, and the words that are covered."""
    words = words_of(text)
    hits, covered = {}, set()
    for number, own in enumerate(items):
        matched = {g for size in {len(g) for g in own} for g in grams(words, size) if g in own}
        if not matched or np.float32(len(matched) / len(own)) < np.float32(least):
            continue
        hits[number] = (len(matched), np.float32(len(matched) / len(own)))
        for gram in matched:
            for i in range(len(words) - len(gram) + 1):
                if tuple(words[i : i + len(gram)]) == gram:
                    covered |= set(range(i, i + len(gram)))
    return hits, covered


def by_row(hits: Hits, row: int) -> tuple[dict, set[int]]:
    mine = hits.row == row
    numbers = zip(hits.item[mine], hits.matched[mine], hits.overlap[mine], strict=True)
    found = {int(item): (int(matched), overlap) for item, matched, overlap in numbers}
    runs = hits.run_row == row
    covered: set[int] = set()
    for start, end in zip(hits.run_start[runs], hits.run_end[runs], strict=True):
        assert not covered & set(range(start - 1, end + 1)), "runs touch"
        covered |= set(range(start, end))
    return found, covered


sentences = st.lists(st.sampled_from(["a", "b", "C,", "é", "東", "½", "-", "d."]), max_size=14).map(
    " ".join
)


@settings(deadline=None, max_examples=120)
@given(
    texts=st.lists(sentences, max_size=5),
    sets=st.lists(st.lists(sentences, max_size=8), min_size=1, max_size=3),
    ngram=st.integers(2, 5),
    min_words=st.integers(2, 5),
    limits=st.tuples(st.integers(1, 3), st.sampled_from([0.0, 0.5, 1.0])),
    min_overlap=st.sampled_from([0.0, 0.3, 0.5, 1.0]),
    skipped=st.integers(0, 2),
)
@example(["a b a b a b", ""], [["a b a", "b a b", "a b a"], []], 3, 2, (1, 0.0), 0.5, 0)
@example(["a b c"], [["a b c", "a b c d.", "é é é"]], 3, 2, (1, 0.5), 0.0, 0)
def test_hits_and_runs_are_those_of_brute_force(
    texts, sets, ngram, min_words, limits, min_overlap, skipped
):
    index = index_of(
        *sets,
        ngram=ngram,
        min_words=min_words,
        template_items=limits[0],
        template_share=limits[1],
    )
    items = evidence(sets, ngram, min_words, limits)
    hits = find(column(texts)[skipped:], index, min_overlap)
    assert (np.diff(hits.row) >= 0).all()
    for row, text in enumerate(texts[skipped:]):
        assert by_row(hits, row) == expected(text, items, ngram, min_overlap)
    assert sorted(set(hits.row)) == np.flatnonzero(hits.rows(max(0, len(texts) - skipped))).tolist()
    for number, report in enumerate(index.reports):
        assert report.items == len(sets[number])
        parts = ("by_ngrams", "whole", "duplicates", "too_short", "template")
        assert sum(getattr(report, part) for part in parts) == report.items


@settings(deadline=None, max_examples=60)
@given(
    st.lists(sentences, max_size=4),
    st.lists(sentences, min_size=1, max_size=4),
    st.integers(0, 2),
)
def test_a_cut_removes_the_covered_words_and_keeps_all_else(texts, items, skipped):
    index = index_of(items, **EVERY)
    text = column(texts)[skipped:]
    hits = find(text, index)
    left = cut(text, hits).to_pylist()
    assert len(left) == len(text)
    for row, (before, after) in enumerate(zip(texts[skipped:], left, strict=True)):
        _, covered = by_row(hits, row)
        words = words_of(before)
        kept = [word for i, word in enumerate(words) if i not in covered]
        if "½" not in before:  # its two words are one letter
            assert words_of(after) == kept
        assert after == before if not covered else len(after) < len(before)
        assert after == "" if covered and not kept else True


def test_a_cut_takes_from_the_first_to_the_last_word_of_each_run():
    index = index_of(["the quick brown fox jumps"], ngram=3)
    text = "Once, «The QUICK — brown fox... jumps!» he said. the quick brown? No: brown fox."
    texts = column(["kept  as it is\r\n", text, "the quick brown fox", "", "-- the quick brown --"])
    assert cut(texts, find(texts, index)).to_pylist() == [
        "kept  as it is\r\n",
        "Once, «!» he said. ? No: brown fox.",
        "",
        "",
        "",
    ]


def test_nothing_found_gives_back_the_same_array():
    texts = column(["one two three four", ""])
    hits = find(texts, index_of(["five six seven"]))
    assert cut(texts, hits) is texts
    assert not hits.rows(2).any()


def test_rows_tell_what_hit_what():
    index = index_of(["one two three four five"], ["so what?", "x", "so  WHAT", "two three four"])
    texts = column(["nothing here", "It said: Two, three, four! So what", "three four FIVE"])
    documents = pa.RecordBatch.from_pydict(
        {
            "id": ["a", "b", "c"],
            "source": ["web"] * 3,
            "path": ["crawl.jsonl"] * 3,
            "position": pa.array([0, 40, 80], pa.int64()),
            "text": texts,
        }
    )
    table = hit_table(texts, find(texts, index), index, documents)
    assert table.schema == HITS
    rows = [tuple(row.values()) for row in table.to_pylist()]
    third = float(np.float32(1 / 3))
    files = ["evaluation/0.jsonl", "evaluation/1.jsonl"]
    assert rows == [
        ("b", "web", "crawl.jsonl", 40, "set0", files[0], 0, 1, third, "Two, three, four"),
        ("b", "web", "crawl.jsonl", 40, "set1", files[1], 0, 1, 1.0, "So what"),
        ("b", "web", "crawl.jsonl", 40, "set1", files[1], 3, 1, 1.0, "Two, three, four"),
        ("c", "web", "crawl.jsonl", 80, "set0", files[0], 0, 1, third, "three four FIVE"),
    ]


def test_a_report_counts_every_item_once():
    template = "which of the following is right about"
    questions = [f"{template} {word}" for word in ["ants", "bees", "cows"]]
    index = index_of(
        [
            *questions,
            questions[0].upper(),
            "too short",
            "just six words in this one",
            "a b c d e f g",
        ],
        ngram=7,
        min_words=6,
        template_items=2,
    )
    (report,) = index.reports
    assert report.by_ngrams == 4
    assert (report.whole, report.duplicates, report.too_short, report.template) == (1, 1, 1, 0)
    assert (report.ngrams, report.template_ngrams) == (4, 1)
    hits = find(column([f"{template} dogs", f"{template} cows"]), index)
    assert hits.rows(2).tolist() == [False, True]
    (only,) = index_of([*questions], ngram=7, template_items=2).reports
    assert (only.by_ngrams, only.template) == (3, 0)
    (none,) = index_of([f"{template} a", f"b {template}"], ngram=7, template_items=1).reports
    assert none.ngrams == 2


@pytest.mark.parametrize("n", [8, 13])
def test_items_planted_in_real_text_are_found_and_nothing_else_is(n):
    documents = [document["text"] for document in real_documents(120)]
    rng = random.Random(n)
    items = [" ".join(words_of(text)[:40]) for text in documents[:20]]
    clean = documents[60:]
    planted = [
        f"{text} {' '.join(words_of(items[i])[5 : 5 + n]).title()} {text[:50]}"
        for i, text in enumerate(clean[:20])
    ]
    almost = [
        f"{text} {' '.join(words_of(items[i])[5 : 4 + n])}." for i, text in enumerate(clean[20:40])
    ]
    texts = [*planted, *almost, *clean[40:]]
    rng.shuffle(texts)
    index = index_of(items, ngram=n, min_words=n)
    oracle = set().union(*(grams(words_of(item), n) for item in items))
    hits = find(column(texts), index).rows(len(texts))
    assert hits.tolist() == [bool(oracle & set(grams(words_of(t), n))) for t in texts]
    assert hits.sum() >= 20


def test_the_same_batch_in_pieces_gives_the_same_hits():
    documents = [document["text"] for document in real_documents(60)]
    index = index_of([text[:300] for text in documents[:30]], ngram=5)
    whole = find(column(documents), index)
    for row, text in enumerate(documents):
        assert by_row(find(column([text]), index), 0) == by_row(whole, row)


def test_an_empty_index_and_an_empty_batch_find_nothing():
    for index in (index_of([]), index_of(["", "word"])):
        assert not find(column(["a b c d", ""]), index).rows(2).any()
    assert len(find(column([]), index_of(["a b c"])).row) == 0


def test_an_index_is_made_of_tables_and_comes_back_from_its_parts():
    def table(path: str, texts: list[str]) -> pa.Table:
        rows = {"path": pa.array([path] * len(texts), pa.string()), "text": column(texts)}
        return pa.table(rows | {"position": pa.array(range(len(texts)), pa.int64())})

    tables = [
        pa.concat_tables(
            [table("a.jsonl", ["one two three"]), table("b.jsonl", ["four five six"])]
        ),
        table("a.jsonl", ["seven eight nine ten"]),
    ]
    items, files = gather_items(tables)
    assert files == ["a.jsonl", "b.jsonl"]
    assert items.set.tolist() == [0, 0, 1]
    assert items.file.tolist() == [0, 1, 0]
    assert items.position.tolist() == [0, 0, 0]
    index = build_index(items, ["x", "y"], files, ngram=3, min_words=2, **EVERY)
    plain, arrays = index.parts()
    again = ContaminationIndex.from_parts(json.loads(json.dumps(plain)), arrays)
    assert again.reports == index.reports
    texts = column(["one two three, four five six", "eight nine ten", "two three four"])
    assert find(texts, again).item.tolist() == find(texts, index).item.tolist() == [0, 1, 2]


def test_a_set_of_which_nothing_is_searched_is_an_error_that_says_why():
    require_searchable(index_of(["one two three"], ["four five"]))
    same = [f"{number} the same three" for number in range(9)]
    with pytest.raises(InputError, match=r"set1: none of its 2 items .* 2 have fewer than 2 words"):
        require_searchable(index_of(["one two three"], ["one", "two"]))
    searched = index_of(["the same three", *same], ngram=3, template_items=1)
    assert searched.reports[0].template == 1
    require_searchable(searched)
