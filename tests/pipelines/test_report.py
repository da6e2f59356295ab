"""The report: complete, self-contained, and deaf to what documents say."""

from __future__ import annotations

import dataclasses
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from mixcurate.errors import RequestError
from mixcurate.io import partfiles, storage
from mixcurate.io.workdir import Workdir
from mixcurate.tables import DOMAINS
from mixcurate.transforms.cluster_files import fit_note_path
from pipelines.report import inert, write_report
from pipelines.report_data import gather
from pipelines.report_histograms import histograms
from tests.corpora import HOSTILE, NAMES, PARTS, STAGES, Made, build

VOID = {"meta", "line", "rect", "br", "img"}


class Page(HTMLParser):
    """Collects tags, attributes and text, and sees that tags are closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        self.text += " " if tag in {"td", "th", "span"} else ""
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag, f"</{tag}> at {self.getpos()}"

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += data


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return build(str(tmp_path_factory.mktemp("made")))


def html_of(made: Made) -> str:
    path = write_report(made.workdir, made.corpus)
    assert path == made.workdir.path("report.html")
    return Path(path).read_text()


@pytest.fixture(scope="module")
def html(made: Made) -> str:
    return html_of(made)


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def squeezed(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def test_tags_are_closed(page: Page) -> None:
    assert page.open == []
    assert page.tags.count("section") == 9


def test_what_was_kept_adds_up(page: Page) -> None:
    text = squeezed(page.text)
    assert "95 in = 90 out + 5 rejected" in text
    assert "90 in = 72 out + 18 rejected" in text
    assert "72 in = 66 out + 6 rejected" in text
    assert "66 different documents are drawn 72 times in all" in text
    for reason in ("empty", "filter_n_words", "low_quality_cluster", "not_drawn"):
        assert f"− {reason}" in text


def test_the_mixture_is_that_of_the_manifest(page: Page) -> None:
    text = squeezed(page.text)
    assert "law 50.30% 50.20% 502 500 514 0.98 36" in text
    assert "sum 100.00% 100.00% 1,000 994 1,016 72" in text
    assert "fingerprint 0123456789abcdef · seed 23 · strategy uniform" in text


def test_clusters_tell_their_quality(page: Page) -> None:
    about = "18 documents, mean quality 0.{}00, distance 0.500 ± 0.100"
    pruned = f"cluster 3: {about.format(2)}, pruned: mean quality 0.2 < 0.5"
    assert pruned in page.text
    assert f"cluster 4: {about.format(9)}, domain 2" in page.text
    assert page.attributes.count(("class", "pruned")) == 1


def test_domains_are_told(page: Page) -> None:
    text = squeezed(page.text)
    # 20 of the 90 documents that came to clustering, 200 of the 600 tokens that are left
    row = "20 22.22% 200 33.33% 0.900 0.870 0.500 ± 0.100"
    assert f"law {row} 2" in text
    assert f"cooking {row} 1" in text
    assert "near sports & <i>games</i>, cooking · languages en 100% · sources <b>web 100%" in text
    assert "sum 60 66.67% 600 100.00% 4" in text


def test_languages_and_sources_follow_the_documents_of_the_clusters(tmp_path: Path) -> None:
    made = build(str(tmp_path))
    path = made.workdir.path("clusters.parquet")
    table = partfiles.read_table(path)
    counts = [
        [("en", 6), ("de", 2)],
        [("fr", 1), ("de", 3), ("ja", 0)],
        [],
        [("xx", 50)],
        [("a", 1)],
    ]
    column = pa.array(counts, pa.map_(pa.string(), pa.int64()))
    at = table.column_names.index("languages")
    partfiles.write_table(path, table.set_column(at, "languages", column))
    rows = {row["name"]: row for row in gather(made.workdir, made.corpus)["table"]}
    assert rows["law"]["languages"] == [
        {"name": "en", "share": 0.5},
        {"name": "de", "share": 5 / 12},
        {"name": "fr", "share": 1 / 12},
        {"name": "1 other", "share": 0.0},
    ]
    assert rows["cooking"]["languages"] == [{"name": "a", "share": 1.0}]
    assert rows[NAMES[1]]["languages"] == []


def test_tiers_share_the_clusters_of_their_domain(tmp_path: Path) -> None:
    made = build(str(tmp_path))
    path = made.workdir.path("domains.parquet")
    rows = partfiles.read_table(path).to_pylist()
    split = [
        row | {"domain": 2 * row["domain"] + tier, "name": f"{row['name']} {tier}"}
        for row in rows
        for tier in range(2)
    ]
    partfiles.write_table(path, pa.Table.from_pylist(split, DOMAINS))
    found = {row["name"]: row for row in gather(made.workdir, made.corpus)["table"]}
    assert len(found) == 6
    assert all(row["languages"] == [{"name": "en", "share": 1.0}] for row in found.values())


def test_examples_are_the_nearest(made: Made, page: Page) -> None:
    data = gather(made.workdir, made.corpus)
    assert [domain["name"] for domain in data["domains"]] == NAMES
    for domain in data["domains"]:
        distances = [example["distance"] for example in domain["examples"]]
        assert len(distances) == 3
        assert distances == sorted(distances)
    # rows 2 and 7 of a part are in cluster 2, domain 1; both parts have the same distances
    texts = [example["text"] for example in data["domains"][1]["examples"]]
    assert {re.sub(r".*#", "", text) for text in texts[:2]} == {f"{part}.2" for part in PARTS}
    assert texts[2].endswith(".7")
    assert all(squeezed(text) in squeezed(page.text) for text in texts)


def test_documents_out_of_the_pool_are_no_examples(tmp_path: Path) -> None:
    made = build(str(tmp_path))
    for part in PARTS:
        path = made.workdir.part("cluster", part)
        table = partfiles.read_table(path)
        domain = table.column("domain").to_numpy().copy()
        domain[2] = -1  # the nearest of domain 1: dropped though its cluster stays
        partfiles.write_table(path, table.set_column(2, "domain", pa.array(domain)))
    data = gather(made.workdir, made.corpus)
    texts = [example["text"] for example in data["domains"][1]["examples"]]
    assert {re.sub(r".*#", "", text) for text in texts[:2]} == {f"{part}.7" for part in PARTS}


def test_sections_of_drift_come_with_their_files(tmp_path: Path, page: Page) -> None:
    for absent in ("Drift", "Old domains on new ones", "Choice of k", "Map"):
        assert absent not in page.text
    made = build(str(tmp_path))
    row = {"name": "<b>law", "documents": 60, "share": 0.6, "share_before": 0.4, "beyond_p99": 0.02}
    drift = {
        "against": "runs/<old>",
        "documents": 100,
        "share_beyond_p99": 0.031,
        "divergence": 0.1234,
        "refit": True,
        "reasons": ["domain <b>law has grown"],
        "domains": [row | {"name": "still", "share": 0.4, "share_before": 0.4}, row],
    }
    storage.write_json(made.workdir.path("drift.json"), drift)
    into = {"old_domain": 1, "old_name": "old <i>one", "new_name": "new", "new_domain": 0}
    moved = [into | {"share": 0.25}, into | {"new_domain": 2, "new_name": "other", "share": 0.75}]
    partfiles.write_table(made.workdir.path("domain_map.parquet"), pa.Table.from_pylist(moved))
    storage.write_json(fit_note_path(made.workdir), {"silhouette": [[32, 0.02], [8, 0.05]]})
    text = squeezed(Page(html_of(made)).text)
    assert "100 documents on the clusters of runs/<old>" in text
    assert "A refit is due. domain <b>law has grown." in text
    assert "<b>law 40.00% 60.00% +20.00 pp 60 2.00% still" in text
    assert "old <i>one other 75.0% new 25.0%" in text
    assert "k silhouette 8 0.0500 32 0.0200" in text


def test_long_texts_are_cut(made: Made) -> None:
    data = gather(made.workdir, made.corpus)
    lengths = [len(e["text"]) for domain in data["domains"] for e in domain["examples"]]
    assert max(lengths) <= 402


def test_rejected_documents_show_their_text(made: Made) -> None:
    reasons = {r["reason"]: r for r in gather(made.workdir, made.corpus)["rejected"]}
    assert [len(reasons[name]["examples"]) for name in ("empty", "filter_n_words")] == [2, 3]
    pruned = reasons["low_quality_cluster"]["examples"]
    assert len(pruned) == 3
    assert all("#a-0000" in example["excerpt"] for example in pruned)


def test_histograms_count_every_document(made: Made) -> None:
    found = {h.name: h for h in histograms(made.workdir, list(PARTS))}
    assert {"quality", "diversity", "weight", "quality_fluency"} <= set(found)
    assert sum(found["quality"].counts) == 90
    assert found["quality"].mean == pytest.approx(0.5)
    assert (found["quality"].low, found["quality"].high) == (0.0, 1.0)
    weights = np.linspace(0, 3, 45)[[row % 5 != 3 for row in range(45)]]
    assert sum(found["weight"].counts) == 2 * int((weights > 0).sum())


@pytest.mark.parametrize("until", STAGES)
def test_any_stage_may_be_the_last(tmp_path: Path, until: str) -> None:
    made = build(str(tmp_path), until=until)
    page = Page(html_of(made))
    assert page.open == []
    text = squeezed(page.text)
    waiting = STAGES[STAGES.index(until) + 1 :]
    assert ("Not finished yet: " + ", ".join(waiting) in text) == bool(waiting)
    assert ("The mixture" in text) == (until in {"plan", "materialize"})
    assert "95 in = 90 out + 5 rejected" in text


def test_no_stage_has_finished(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no stage has finished"):
        write_report(Workdir(str(tmp_path)), str(tmp_path / "corpus"))


def test_one_file_and_no_network(page: Page, html: str) -> None:
    names = {name for name, _ in page.attributes}
    assert not names & {"src", "href", "srcset", "action", "data", "poster", "xlink:href"}
    assert not set(page.tags) & {"script", "link", "img", "iframe", "object", "embed", "base"}
    assert "@import" not in html
    assert "url(" not in html
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in page.attributes


def test_hostile_text_is_shown_and_does_nothing(page: Page, html: str) -> None:
    assert "<script" not in html.lower()
    assert not any(name.startswith("on") for name, _ in page.attributes)
    assert "<script>alert('text')</script><img src=x onerror=alert(1)> {{ 7*7 }}" in page.text
    assert "<script>alert('keyword')</script>" in page.text
    assert "<script>alert('url')</script>" in page.text
    assert "1 <b>word</b>" in page.text
    assert "sports & <i>games</i>" in page.text
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]", html)
    assert HOSTILE not in page.text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("a\x00b\x1b[1m", "a\ufffdb\ufffd[1m"),
        ("\u202eevil", "\ufffdevil"),
        ("line\n\ttab", "line\n\ttab"),
        ("שלום עולם", "שלום עולם"),
        ("👩\u200d🔬", "👩\u200d🔬"),
    ],
)
def test_inert(text: str, shown: str) -> None:
    assert inert(text) == shown


def test_the_same_workdir_gives_the_same_bytes(tmp_path: Path, html: str) -> None:
    assert html_of(build(str(tmp_path))) == html


def test_a_manifest_of_an_earlier_run_is_not_shown(tmp_path: Path) -> None:
    made = build(str(tmp_path))
    Path(made.workdir.success_path("materialize")).unlink()
    manifest = Path(made.corpus, "manifest.json")
    value = json.loads(manifest.read_text())
    value["recipe_fingerprint"] = "stale"
    manifest.write_text(json.dumps(value))
    text = Page(html_of(made)).text
    assert "stale" not in text
    assert "the plan gives" in text


def test_stages_that_stand_on_other_documents_are_left_out(tmp_path: Path) -> None:
    made = build(str(tmp_path))
    ingested = made.workdir.success("ingest")
    assert ingested is not None
    parts = [dataclasses.replace(part, documents=part.documents - 1) for part in ingested.parts]
    made.workdir.write_success("ingest", dataclasses.replace(ingested, parts=parts))
    found = gather(made.workdir, made.corpus)
    assert found["waiting"] == list(STAGES)[1:]
    assert found["mixture"] is None
    assert Page(html_of(made)).open == []
