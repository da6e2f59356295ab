"""The report's section on quality and weights, from sketches of made-up documents."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mixcurate.io import partfiles, storage
from mixcurate.io.workdir import Workdir
from mixcurate.kernels import score_sketch
from mixcurate.kernels.allocation import Amounts, CopyRule, find_scale
from mixcurate.kernels.score_sketch import Scored
from pipelines.report import write_report
from pipelines.report_quality import Spread, quality_section
from tests.corpora import HOSTILE, NAMES, Made, build
from tests.pipelines.test_report import Page, squeezed

SOURCES = ["crawl", HOSTILE, "books"]


def scored(n: int = 4_000, *, seed: int = 1, domains: int = 3, **changes: Any) -> tuple[Any, ...]:
    """Documents as score sees them, and the ``pool.json`` that goes with them."""
    random = np.random.default_rng(seed)
    domain = random.integers(0, domains, n).astype(np.int32)
    units = np.stack([random.beta(2 + domain, 3), random.beta(3, 2 + domain)])
    tokens = np.ceil(np.exp(random.normal(5, 1, n))).astype(np.int64)
    pool = {
        "method": "samplemix",
        "alpha": 0.8,
        "tau": 0.2,
        "normalise": "minmax",
        "within": "pool",
        "max_epochs": None,
        "exact": "documents",
        "penalty": 0.15,
        "documents": n,
        "tokens": int(tokens.sum()),
        "target_documents": 0.8 * n,
        "target_tokens": 0.8 * float(tokens.sum()),
        "budget_tokens": int(0.8 * tokens.sum()),
        "groups": [{"group": -1, "quality": [0.25, 0.75], "diversity": [0.125, 1.5]}],
        "notes": ["a note with <b>markup</b>"],
    } | changes
    rule = CopyRule(pool["method"], pool["penalty"], pool["max_epochs"] or math.inf)
    weight = np.exp((pool["alpha"] * units[1] + (1 - pool["alpha"]) * units[0]) / pool["tau"])
    scale = find_scale(rule, Amounts(weight, np.ones(n)), pool["target_documents"], "documents")
    expected = rule.expected(weight, scale)
    copies = rule.copies(expected, random.integers(0, 2**64, n, dtype=np.uint64))
    source = pa.array([SOURCES[i] for i in random.integers(0, 3, n)])
    quality = (0.25 + 0.5 * units[0]).astype(np.float32)
    return Scored(domain, source, tokens, quality, units, expected, copies), pool


def leave(workdir: Workdir, documents: Scored, pool: dict[str, Any]) -> None:
    """Write what the score stage leaves beside the parts."""
    merged = score_sketch.sketch(documents)
    for name in score_sketch.TABLES:
        path = workdir.path("_stages", "score", f"{name}.parquet")
        partfiles.write_table(path, score_sketch.table_of(merged, name))
    storage.write_json(workdir.path("_stages", "score", "pool.json"), pool)


def domains(n: int = 3) -> list[dict[str, Any]]:
    return [{"name": name} for name in (NAMES + [f"domain {i}" for i in range(3, n)])]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    made = build(str(tmp_path_factory.mktemp("made")))
    leave(made.workdir, *scored())
    return made


@pytest.fixture(scope="module")
def html(made: Made) -> str:
    return Path(write_report(made.workdir, made.corpus)).read_text()


def section(html: str) -> str:
    return html[html.index('<section id="quality">') :].split("</section>", maxsplit=1)[0]


def test_the_section_is_sound_and_calls_nothing(html: str) -> None:
    page = Page(html)
    assert page.open == []
    assert page.tags.count("section") == 10
    names = {name for name, _ in page.attributes}
    assert not names & {"src", "href", "srcset", "action", "data", "poster", "xlink:href"}
    assert not any(name.startswith("on") for name in names)
    assert not set(page.tags) & {"script", "link", "img", "iframe", "object", "embed", "base"}
    assert "url(" not in html


def test_names_are_text(html: str) -> None:
    page = Page(section(html))
    assert "sports & <i>games</i>" in page.text
    assert "</td></table><script>alert('text')</script><img" in page.text
    assert "a note with <b>markup</b>" in page.text
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e]", html)


def test_what_the_section_says(made: Made, html: str) -> None:
    text = squeezed(Page(section(html)).text)
    assert "4,000 documents of the pool. Weights by samplemix: p = 0.8 × diversity" in text
    assert "0.2 × quality, both brought to 0 to 1 by their least and greatest value over" in text
    found = quality_section(made.workdir, domains())
    assert found is not None
    row = found["drawn"][0]
    assert f"{row['name']} {row['documents']:,.0f} {row['expected']:,.1f}" in text
    assert "0.8 0.2" in text
    assert "0.250 quality → 0.750" in text


@pytest.mark.parametrize("stage", ["pool.json", "plane.parquet", "copies.parquet"])
def test_without_a_sketch_the_section_is_left_out(tmp_path: Path, stage: str) -> None:
    made = build(str(tmp_path))
    left_out = "an older version scored these documents. Run mixcurate score again"
    assert left_out in Path(write_report(made.workdir, made.corpus)).read_text()
    leave(made.workdir, *scored(50))
    whole = Path(write_report(made.workdir, made.corpus)).read_text()
    assert left_out not in whole
    assert '<section id="quality">' in whole
    storage.remove(made.workdir.path("_stages", "score", stage))
    html = Path(write_report(made.workdir, made.corpus)).read_text()
    assert left_out in html
    assert '<section id="quality">' not in html


def test_before_score_nothing_is_said(tmp_path: Path) -> None:
    made = build(str(tmp_path), until="cluster")
    leave(made.workdir, *scored(50))
    html = Path(write_report(made.workdir, made.corpus)).read_text()
    assert "older version" not in html
    assert '<section id="quality">' not in html


def test_spreads_are_those_of_the_documents() -> None:
    values = np.random.default_rng(0).beta(2, 5, 50_000)
    counts = np.histogram(values, 64, (0, 1))[0]
    found = Spread.of(counts)
    assert found is not None
    expected = [*np.quantile(values, [0.1, 0.5, 0.9]), values.mean()]
    assert [found.p10, found.p50, found.p90, found.mean] == pytest.approx(expected, abs=1 / 128)
    assert Spread.of(np.zeros(64, int)) is None


def test_spreads_of_few_documents_stay_in_their_bins() -> None:
    counts = np.zeros(64, int)
    counts[[0, 63]] = 1
    found = Spread.of(counts)
    assert found is not None
    assert found.p10 < 1 / 64 < 63 / 64 < found.p90
    assert found.mean == 0.5


def section_of(folder: Path, documents: Scored, pool: dict[str, Any], n: int = 3) -> dict[str, Any]:
    workdir = Workdir(str(folder))
    leave(workdir, documents, pool)
    found = quality_section(workdir, domains(n))
    assert found is not None
    return found


def test_expected_against_realised(tmp_path: Path) -> None:
    documents, pool = scored()
    rows = section_of(tmp_path, documents, pool)["drawn"]
    assert [row["name"] for row in rows[-1:]] == ["all"]
    by_name = {row["name"]: row for row in rows}
    for number, name in enumerate(NAMES):
        mine = documents.domain == number
        row = by_name[name]
        copies, tokens = documents.copies[mine], documents.tokens[mine]
        assert row["documents"] == mine.sum()
        assert row["copies"] == copies.sum()
        expected = documents.expected[mine].sum()
        assert row["off"] == pytest.approx(copies.sum() / expected - 1, abs=1e-5)
        rest = documents.expected[mine] % 1
        spread = math.sqrt((rest * (1 - rest)).sum())
        assert row["z"] == pytest.approx((copies.sum() - expected) / spread, rel=0.05, abs=1e-3)
        assert row["epochs"] == pytest.approx((copies * tokens).sum() / tokens[copies > 0].sum())
        assert row["never"] == pytest.approx((copies == 0).mean())
        assert row["repeated"] == pytest.approx((copies > 1).mean())
    assert sum(row["documents"] for row in rows[:-1]) == rows[-1]["documents"] == 4_000
    assert abs(rows[-1]["z"]) < 4


def test_documents_by_number_of_copies(tmp_path: Path) -> None:
    documents, pool = scored(20_000, tau=0.08)
    rows = section_of(tmp_path, documents, pool)["times"]
    assert [row["times"] for row in rows] == [*map(str, range(9)), "9 or more"]
    assert sum(row["documents"] for row in rows) == 20_000
    assert sum(row["expected"] for row in rows) == pytest.approx(20_000)
    assert sum(row["token_share"] for row in rows) == pytest.approx(1)
    for number, row in enumerate(rows[:9]):
        mine = documents.copies == number
        assert row["documents"] == mine.sum()
        whole, rest = np.floor(documents.expected), documents.expected % 1
        chance = ((1 - rest) * (whole == number) + rest * (whole + 1 == number)).sum()
        assert row["expected"] == pytest.approx(chance, rel=0.05)


def test_gumbel_has_no_z(tmp_path: Path) -> None:
    rows = section_of(tmp_path, *scored(500, method="gumbel"))["drawn"]
    assert all(row["z"] is None for row in rows)


def cells(paths: list[str]) -> dict[tuple[int, int], int]:
    """Shade of each (quality bin, diversity bin) that a path covers."""
    found: dict[tuple[int, int], int] = {}
    for shade, path in enumerate(paths):
        for x, y, width, back in re.findall(r"M(\d+) (\d+)h(\d+)v1h-(\d+)z", path):
            assert width == back
            for column in range(int(x), int(x) + int(width)):
                assert (column, 63 - int(y)) not in found
                found[column, 63 - int(y)] = shade
    return found


def test_the_plane_shows_each_bin_once(tmp_path: Path) -> None:
    documents, pool = scored()
    plane = section_of(tmp_path, documents, pool)["plane"]
    bins = np.minimum((documents.units * 64).astype(int), 63)
    counts: dict[tuple[int, int], list[float]] = {}
    for place, expected in zip(zip(*bins.tolist(), strict=True), documents.expected, strict=True):
        counts.setdefault(place, []).append(expected)
    shown, copies = cells(plane["documents"]), cells(plane["expected"])
    assert set(shown) == set(copies) == set(counts)
    assert len(plane["documents"]) == len(plane["document_bounds"])
    assert len(plane["expected"]) == len(plane["copy_bounds"]) + 1
    for place, mine in counts.items():
        assert len(mine) <= plane["document_bounds"][shown[place]]
        mean = float(np.mean(mine))
        if min(abs(mean - bound) for bound in plane["copy_bounds"]) > 1e-5:
            assert copies[place] == sum(mean > bound for bound in plane["copy_bounds"])


def test_axes_of_ranks_have_no_values_of_the_pool(tmp_path: Path) -> None:
    assert section_of(tmp_path, *scored(300))["plane"]["ranges"]["quality"] == [0.25, 0.75]
    assert section_of(tmp_path, *scored(300, normalise="rank"))["plane"]["ranges"] is None


@pytest.mark.parametrize(("n", "levels"), [(1, 1), (300, 4), (40_000, 8)])
def test_the_fullest_bin_is_the_darkest(tmp_path: Path, n: int, levels: int) -> None:
    plane = section_of(tmp_path, *scored(n))["plane"]
    assert len(plane["document_shades"]) == len(plane["document_bounds"]) <= levels
    assert plane["document_shades"][-1] == 7
    assert plane["document_shades"] == sorted(set(plane["document_shades"]))
    assert plane["document_bounds"] == sorted(set(plane["document_bounds"]))


def test_all_bars_lie_between_the_ends_of_the_axis(tmp_path: Path) -> None:
    found = section_of(tmp_path, *scored(500))
    low, high = found["axis"]
    for row in [*found["by_domain"], *found["by_source"]]:
        assert low <= row["pool"].p10 <= row["pool"].p50 <= row["pool"].p90 <= high
        assert low <= row["drawn"].p10 <= row["drawn"].p90 <= high
    assert low >= 0.2
    assert high <= 0.8


def test_the_table_of_settings(tmp_path: Path) -> None:
    documents, pool = scored(alpha=0.7, tau=0.3, within="domain", exact="tokens")
    found = section_of(tmp_path, documents, pool)["what_if"]
    settings = [(row["outcome"].alpha, row["outcome"].tau) for row in found["rows"]]
    assert len(settings) == len(set(settings)) == 26
    assert settings == sorted(settings)
    assert [pair for pair, row in zip(settings, found["rows"], strict=True) if row["current"]] == [
        (0.7, 0.3)
    ]
    assert [outcome.tau for outcome in found["along"]["tau"]] == [0.05, 0.1, 0.2, 0.3, 0.5, 1.0]
    tokens = np.bincount(documents.domain, documents.tokens)
    for row in found["shares"]:
        # each domain keeps its share of the tokens, whatever alpha and tau are
        share = tokens[NAMES.index(row["name"])] / tokens.sum()
        assert row["pool"] == pytest.approx(share)
        assert [*row["alpha"], *row["tau"], row["now"]] == pytest.approx([share] * 13)
    assert all(
        row["outcome"].tokens == pytest.approx(pool["target_tokens"]) for row in found["rows"]
    )


def test_many_domains_are_added_up(tmp_path: Path) -> None:
    found = section_of(tmp_path, *scored(2_000, domains=40), n=40)
    for rows in (found["by_domain"], found["drawn"][:-1]):
        assert rows[-1]["name"] == "16 others"
        assert sum(row["documents"] for row in rows) == 2_000
    assert found["what_if"]["shares"][-1]["name"] == "28 others"
    for column in ("pool", "now"):
        assert sum(row[column] for row in found["what_if"]["shares"]) == pytest.approx(1)
