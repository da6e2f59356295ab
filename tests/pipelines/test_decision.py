from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixcurate.io import partfiles
from mixcurate.io.workdir import Workdir
from pipelines.decision import Decision, divide, read_decision, write_decision, write_domain_of
from pipelines.domains import regroup


def decision() -> Decision:
    return Decision(
        reasons=[None, "low_quality", None, None],
        details=[None, "fluency 0.2 < 0.5", None, None],
        domain=np.array([1, -1, 0, 1], np.int32),
        names=["sports", "law"],
        keywords=[["goal", "match"], ["court"]],
        ids=["a" * 32, "b" * 32],
        automatic=[{"id": "a" * 32, "name": "sports"}],
        notes=["a note"],
    )


def test_a_decision_comes_back(tmp_path: Path) -> None:
    workdir = Workdir(str(tmp_path))
    write_decision(workdir, decision(), divide(decision(), (0.5, 0.7)))
    found, bounds = read_decision(workdir)
    np.testing.assert_array_equal(found.domain, decision().domain)
    assert found.domain.dtype == np.int32
    for name in ("reasons", "details", "names", "keywords", "ids", "automatic", "notes"):
        assert getattr(found, name) == getattr(decision(), name)
    assert bounds == (0.5, 0.7)


def test_without_tiers_domains_stay(tmp_path: Path) -> None:
    tiered = divide(decision(), ())
    assert (tiered.names, tiered.ids, tiered.base) == (["sports", "law"], decision().ids, [0, 1])
    path = write_domain_of(Workdir(str(tmp_path)), decision(), tiered)
    assert partfiles.read_array(path).tolist() == [[1], [-1], [0], [1]]


def test_tiers_divide_each_domain_and_have_ids_of_their_own(tmp_path: Path) -> None:
    tiered = divide(decision(), (0.5, 0.75))
    assert tiered.names == [
        "sports (quality 0 to 0.5)",
        "sports (quality 0.5 to 0.75)",
        "sports (quality 0.75 to 1)",
        "law (quality 0 to 0.5)",
        "law (quality 0.5 to 0.75)",
        "law (quality 0.75 to 1)",
    ]
    assert len(set(tiered.ids)) == 6
    assert tiered.ids != divide(decision(), (0.4, 0.75)).ids
    assert tiered.base == [0, 0, 0, 1, 1, 1]
    path = write_domain_of(Workdir(str(tmp_path)), decision(), tiered)
    assert partfiles.read_array(path).tolist() == [[3, 4, 5], [-1] * 3, [0, 1, 2], [3, 4, 5]]


@given(
    st.lists(st.integers(-1, 5), min_size=1, max_size=20),
    st.lists(st.integers(0, 3), min_size=6, max_size=6),
    st.integers(0, 2**31),
)
def test_regrouped_domains_join_what_the_groups_join_and_go_by_tokens(domain, groups, seed):
    domain_of = np.array(domain, np.int32)
    tokens = np.random.default_rng(seed).integers(1, 1_000, len(domain))
    new, largest = regroup(domain_of, np.array(groups, np.int32), tokens)
    assert (new == -1).tolist() == (domain_of == -1).tolist()
    for one, first in zip(domain, new, strict=True):
        for other, second in zip(domain, new, strict=True):
            if min(one, other) >= 0:
                assert (groups[one] == groups[other]) == (first == second)
    totals = [int(tokens[new == number].sum()) for number in range(len(largest))]
    assert totals == sorted(totals, reverse=True)
    assert set(new[new >= 0].tolist()) == set(range(len(largest)))
    for number, old in enumerate(largest):
        held = {
            o: int(tokens[domain_of == o].sum()) for o in set(domain_of[new == number].tolist())
        }
        assert held[old] == max(held.values())


def test_regrouping_nothing_keeps_the_order() -> None:
    domain = np.array([0, 0, 1, 2, -1], np.int32)
    new, largest = regroup(domain, np.arange(3, dtype=np.int32), np.array([5, 5, 6, 1, 9]))
    assert new.tolist() == domain.tolist()
    assert largest == [0, 1, 2]


@pytest.mark.parametrize("bounds", [(), (0.5,)])
def test_the_numbers_of_domains_are_rows_of_the_table(bounds: tuple[float, ...]) -> None:
    tiered = divide(decision(), bounds)
    assert len(tiered.names) == len(tiered.ids) == len(tiered.base) == 2 * (len(bounds) + 1)
