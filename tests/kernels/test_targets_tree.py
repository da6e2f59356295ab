from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.errors import PlanError
from mixcurate.kernels.cells import Partition
from mixcurate.kernels.mixture import DomainTarget, MixtureParams
from mixcurate.kernels.target_keys import resolve
from mixcurate.kernels.targets import shares_of
from tests.kernels.test_targets import facts, share

DOMAINS = ("law", "sports", "web: misc")
TREE = {("books", 0): 100, ("books", 1): 300, ("web", 0): 50, ("web", 1): 150, ("web", 2): 400}
PARTITION = Partition.of(("source", "domain"), TREE, (), DOMAINS)


def shares(
    targets: dict[int | str, DomainTarget], budget: int | None = 1_000, **more: Any
) -> tuple[dict[str, float], list[str]]:
    params = MixtureParams(by=["source", "domain"], targets=targets, budget_tokens=budget, **more)
    available = np.array([TREE[path] for path in PARTITION.paths], np.int64)
    found, total, notes = shares_of(params, facts(PARTITION, available), PARTITION, budget)
    assert budget is None or total == budget
    tokens = {name: round(one * total, 6) for name, one in zip(PARTITION.names, found, strict=True)}
    return tokens, notes


def test_a_branch_gets_its_amount_and_the_strategy_shares_it_inside():
    found, _ = shares({"books": share(0.8)})
    assert list(found.values()) == [200, 600, pytest.approx(50 / 3), 50, pytest.approx(400 / 3)]


def test_a_cell_below_a_branch_takes_of_the_branch():
    found, _ = shares({"books": share(0.8), "books:law": share(0.7)})
    assert (found["books:law"], found["books:sports"]) == (700, 100)


def test_proportions_in_a_tree_are_of_the_whole_corpus_and_amounts_absolute():
    targets = {"web": share(0.5), "web:0": DomainTarget(tokens=5), "web:1": DomainTarget(repeat=2)}
    found, _ = shares(targets)
    assert [found[f"web:{name}"] for name in DOMAINS] == [5, 300, 195]
    assert found["books:law"] + found["books:sports"] == 500


def test_a_cell_alone_takes_of_the_corpus_and_its_branch_has_no_amount():
    found, _ = shares({"books:law": share(0.6)})
    assert found["books:law"] == 600
    others = [found[name] for name in PARTITION.names[1:]]
    np.testing.assert_allclose(others, np.array([300, 50, 150, 400]) * 4 / 9, atol=1e-5)


def test_cells_that_ask_for_more_than_their_branch_are_refused_with_both_numbers():
    with pytest.raises(PlanError, match=r"below 'books' ask for 900 tokens, more than its own 800"):
        shares({"books": share(0.8), "books:law": share(0.9)})


def test_cells_that_ask_for_less_than_their_branch_are_scaled_with_a_note():
    found, notes = shares({"books": share(0.8), "books:0": share(0.1), "books:1": share(0.3)})
    assert (found["books:law"], found["books:sports"]) == (200, 600)
    assert any(
        "below 'books' add up to 400 of 800 tokens; all were scaled by 2" in note for note in notes
    )


def test_a_branch_whose_cells_are_all_zero_is_refused():
    targets = {"books": share(0.8), "books:0": share(0), "books:1": share(0)}
    with pytest.raises(PlanError, match="'books' has a target of 800 tokens, but"):
        shares(targets)


def test_without_a_budget_everything_unnamed_comes_once():
    found, _ = shares({"books": DomainTarget(repeat=3), "web:0": DomainTarget(tokens=7)}, None)
    assert list(found.values()) == [300, 900, 7, 150, 400]


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("books", ("books",)),
        ("books:sports", ("books", 1)),
        ("books:1", ("books", 1)),
        ("web:web: misc", ("web", 2)),
        ("web:2", ("web", 2)),
    ],
)
def test_keys_are_read_in_every_way(key, path):
    assert list(resolve({key: share(0.1)}, PARTITION, "mixture.targets")) == [path]


def test_values_may_hold_colons():
    partition = Partition.of(("source", "licence"), [("a:b", "c:d"), ("a", "x")])
    assert list(resolve({"a:b:c:d": share(0.1)}, partition, "")) == [("a:b", "c:d")]
    assert list(resolve({"a:b": share(0.1)}, partition, "")) == [("a:b",)]
    both = Partition.of(("source", "licence"), [("a:b", "x"), ("a", "b")])
    with pytest.raises(PlanError, match="can mean 2 things: source 'a:b' or source:licence 'a:b'"):
        resolve({"a:b": share(0.1)}, both, "mixture.targets")


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("book", "mixture.targets: no source, or path of source:domain, 'book' .*mean 'books'"),
        ("books:sport", "mean 'books:sports'"),
        ("books:sports:x", "no source, or path of"),
        (0, "no source, or path of source:domain, 0 among 7 of the pool; valid: books, books:law"),
    ],
)
def test_a_key_that_means_nothing_is_refused_with_the_nearest_one(key, message):
    with pytest.raises(PlanError, match=message):
        resolve({key: share(0.1)}, PARTITION, "mixture.targets")


def test_two_keys_of_one_cell_are_refused():
    with pytest.raises(PlanError, match="'books:1' names source:domain 'books:sports' a second"):
        resolve({"books:sports": share(0.1), "books:1": share(0.1)}, PARTITION, "mixture.targets")


def test_a_path_without_documents_is_refused_if_it_has_a_target():
    assert shares({"books:web: misc": share(0)})[0]["web:web: misc"] == 400
    with pytest.raises(PlanError, match="'books:web: misc' has no documents, but a target of 100"):
        shares({"books:web: misc": share(0.1)})


def test_tiers_and_names_of_languages_are_keys():
    tiers = Partition.of(("tier",), [(0,), (1,), (2,)])
    assert list(resolve({1: share(0.1), "2": share(0.1)}, tiers, "")) == [(1,), (2,)]
    with pytest.raises(PlanError, match="no tier 3 among 3 tiers; valid: 0, 1, 2"):
        resolve({3: share(0.1)}, tiers, "")
    years = Partition.of(("source",), [("2019",), ("2020",)])
    assert list(resolve({2019: share(0.1)}, years, "")) == [("2019",)]


def test_a_long_list_of_valid_names_is_cut():
    many = Partition.of(("source",), [(f"source-{i:05d}",) for i in range(3_000)])
    with pytest.raises(PlanError) as error:
        resolve({"wholly different": share(0.1)}, many, "")
    assert len(str(error.value)) < 400


def brute_force(
    tree: dict[tuple[str, ...], int], targets: dict[tuple[str, ...], float], total: float
) -> dict[tuple[str, ...], float] | None:
    """Amounts of tokens, branch by branch, in plain recursion; None where it cannot be."""
    result: dict[tuple[str, ...], float] = {}

    def tops(prefix: tuple[str, ...]) -> list[tuple[str, ...]]:
        """The named ones right below."""
        below = [t for t in targets if len(t) > len(prefix) and t[: len(prefix)] == prefix]
        return [t for t in below if not any(o != t and t[: len(o)] == o for o in below)]

    def give(prefix: tuple[str, ...], amount: float) -> bool:
        named = tops(prefix)
        leaves = [leaf for leaf in tree if leaf[: len(prefix)] == prefix]
        free = [leaf for leaf in leaves if not any(leaf[: len(t)] == t for t in named)]
        asked = sum(targets[t] for t in named)
        have = sum(tree[leaf] for leaf in free)
        if asked > amount + 0.5:
            return False
        if have == 0 and amount - asked > 0.5:
            if asked == 0:
                return False
            for t in named:
                targets[t] *= amount / asked
            asked = amount
        for leaf in free:
            result[leaf] = (amount - asked) * tree[leaf] / have if have else 0.0
        return all(give(t, targets[t]) for t in named)

    return result if give((), total) else None


LEVEL = st.sampled_from("abc")


@given(
    st.dictionaries(st.tuples(LEVEL, LEVEL, LEVEL), st.integers(1, 500), min_size=1, max_size=12),
    st.dictionaries(
        st.lists(LEVEL, min_size=1, max_size=3).map(tuple), st.integers(0, 600), max_size=5
    ),
)
@settings(max_examples=200, deadline=None)
def test_amounts_are_those_of_a_plain_recursion(tree, targets):
    partition = Partition.of(("source", "licence", "language"), tree)
    possible = {leaf[:depth] for leaf in tree for depth in (1, 2, 3)}
    targets = {path: amount for path, amount in targets.items() if path in possible}
    params = MixtureParams(
        by=list(partition.levels),
        targets={":".join(path): DomainTarget(tokens=n) for path, n in targets.items()},
        budget_tokens=1_000,
    )
    available = np.array([tree[path] for path in partition.paths], np.int64)
    expected = brute_force(tree, dict(targets), 1_000.0)
    try:
        found, total, _ = shares_of(params, facts(partition, available), partition, 1_000)
    except PlanError:
        assert expected is None
        return
    assert expected is not None
    assert total == 1_000
    wanted = [expected[path] for path in partition.paths]
    np.testing.assert_allclose(found * 1_000, wanted, atol=0.6)
