"""The map: what is drawn is what was sampled, and its frame can do nothing else."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mixcurate.io import partfiles, storage
from mixcurate.io.workdir import Workdir
from mixcurate.kernels import quality
from mixcurate.tables import SAMPLE
from mixcurate.transforms.cluster_files import fit_note_path, map_path
from mixcurate.transforms.sample import rows_path, vectors_path
from pipelines import report_chart
from pipelines.report import inert, write_report
from pipelines.report_map import MAP, write_map
from tests.corpora import DOCUMENTS, DOMAIN_OF, NAMES, PARTS, Made, build, cluster_of
from tests.transforms.small_workdir import judge

STRICT = "default-src 'none'; style-src 'unsafe-inline'"
FRAME = "script-src SCRIPTS; img-src data:"
HOSTILE = (
    "</script></iframe>\"'><script>alert(1)</script><!-- @url $index @{url}{safe} \u202egnp.exe\x07"
)


class Page(HTMLParser):
    """Start tags with their attributes, and the text of scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "script":
            self.scripts[-1] += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def policy(self) -> str:
        return next(m["content"] or "" for m in self.all("meta") if "http-equiv" in m)


def sampled(workdir: Workdir, count: int = 80, metric: str = "cosine") -> list[tuple[str, int]]:
    """Give a workdir what clustering leaves for the map; the sample's places in its order."""
    draw = np.random.default_rng(1)
    for part in PARTS:
        table = partfiles.read_table(workdir.part("ingest", part))
        for name in quality.INPUTS:
            values = draw.random(DOCUMENTS).astype(np.float32)
            table = table.append_column(f"signal_{name}", pa.array(values))
        partfiles.write_table(workdir.part("ingest", part), table)
        judge(workdir, part)
    places = [(part, row) for part in PARTS for row in range(DOCUMENTS)]
    places = [places[i] for i in draw.permutation(len(places))[:count]]
    rows = [{"part": part, "row": row, "id": "x"} for part, row in places]
    partfiles.write_table(rows_path(workdir), pa.Table.from_pylist(rows, SAMPLE))
    vectors = draw.standard_normal((len(places), 8)).astype(np.float32)
    partfiles.write_array(vectors_path(workdir), vectors)
    storage.write_json(fit_note_path(workdir), {"metric": metric})
    return places


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    made = build(str(tmp_path_factory.mktemp("made")))
    sampled(made.workdir)
    write_map(made.workdir, documents=60, seed=3)
    rows = partfiles.read_table(map_path(made.workdir)).to_pylist()
    for name in ("excerpt", "url", "source", "language"):
        rows[0][name] = HOSTILE + name
    partfiles.write_table(map_path(made.workdir), pa.Table.from_pylist(rows, MAP))
    return made


@pytest.fixture(scope="module")
def html(made: Made) -> str:
    return Path(write_report(made.workdir, made.corpus)).read_text()


@pytest.fixture(scope="module")
def outer(html: str) -> Page:
    return Page(html)


@pytest.fixture(scope="module")
def inner(outer: Page) -> Page:
    return Page(outer.all("iframe")[0]["srcdoc"] or "")


def test_the_map_is_the_beginning_of_the_sample(tmp_path: Path) -> None:
    workdir = build(str(tmp_path), until="cluster").workdir
    places = sampled(workdir)
    write_map(workdir, documents=60, seed=3)
    table = partfiles.read_table(map_path(workdir))
    assert table.schema.equals(MAP)
    assert table.num_rows == 60
    documents = {part: partfiles.read_table(workdir.part("ingest", part)) for part in PARTS}
    for found, (part, row) in zip(table.to_pylist(), places[:60], strict=True):
        document = documents[part].slice(row, 1).to_pylist()[0]
        signals = {
            name: np.array([document[f"signal_{name}"]], np.float32) for name in quality.INPUTS
        }
        for name in ("id", "url", "source", "language"):
            assert found[name] == document[name]
        assert found["excerpt"] == document["text"][:400]
        assert found["domain"] == DOMAIN_OF[cluster_of(row)]
        assert found["quality"] == quality.overall(quality.heuristic_quality(signals))[0]
        assert max(abs(found["x"]), abs(found["y"])) <= 1
    assert -1 in table.column("domain").to_pylist()


def test_long_texts_are_cut(tmp_path: Path) -> None:
    workdir = build(str(tmp_path), until="cluster").workdir
    sampled(workdir)
    table = partfiles.read_table(workdir.part("ingest", PARTS[0]))
    texts = pa.array(["東京🗼" * 300] * DOCUMENTS, pa.large_string())
    partfiles.write_table(workdir.part("ingest", PARTS[0]), table.set_column(1, "text", texts))
    write_map(workdir, documents=20, seed=3)
    excerpts = partfiles.read_table(map_path(workdir)).column("excerpt").to_pylist()
    assert max(excerpts, key=len) == ("東京🗼" * 134)[:400]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 9])
def test_a_small_sample_is_drawn_whole(tmp_path: Path, count: int) -> None:
    workdir = build(str(tmp_path), until="cluster").workdir
    sampled(workdir, count)
    write_map(workdir, documents=2_000, seed=3)
    table = partfiles.read_table(map_path(workdir))
    assert table.schema.equals(MAP)
    assert table.num_rows == count


def test_the_rest_of_the_sample_is_not_read(tmp_path: Path) -> None:
    workdir = build(str(tmp_path), until="cluster").workdir
    sampled(workdir)
    write_map(workdir, documents=30, seed=3)
    before = storage.read_bytes(map_path(workdir))
    data = storage.read_bytes(vectors_path(workdir))
    storage.write_bytes(vectors_path(workdir), data[: len(data) - 50 * 8 * 4])
    write_map(workdir, documents=30, seed=3)
    assert storage.read_bytes(map_path(workdir)) == before


@pytest.mark.parametrize(("metric", "same"), [("cosine", True), ("euclidean", False)])
def test_lengths_of_vectors_count_only_where_the_metric_is_euclidean(
    tmp_path: Path, metric: str, same: bool
) -> None:
    workdir = build(str(tmp_path), until="cluster").workdir
    sampled(workdir, metric=metric)
    write_map(workdir, documents=30, seed=3)
    before = partfiles.read_table(map_path(workdir), ["x"])
    vectors = partfiles.read_array(vectors_path(workdir))
    powers = 2.0 ** np.arange(-4, 4)  # exact, so that the directions stay bit for bit
    vectors *= np.resize(powers, len(vectors))[:, None].astype(np.float32)
    partfiles.write_array(vectors_path(workdir), vectors)
    write_map(workdir, documents=30, seed=3)
    assert before.equals(partfiles.read_table(map_path(workdir), ["x"])) == same


def test_the_frame_is_shut_in(outer: Page, inner: Page) -> None:
    frame = outer.all("iframe")
    assert len(frame) == 1
    assert set(frame[0]) == {"title", "sandbox", "srcdoc"}
    assert frame[0]["sandbox"] == "allow-scripts"
    assert not outer.all("script")
    assert [set(script) for script in inner.all("script")] == [{"type", "id"}, set(), set()]
    names = {name for _, attributes in outer.tags + inner.tags for name in attributes}
    assert not names & {"src", "href", "srcset", "action", "data", "poster", "xlink:href"}
    assert not any(name.startswith("on") for name in names)
    tags = {tag for tag, _ in inner.tags}
    assert not tags & {"link", "img", "iframe", "object", "embed", "base", "form", "a"}


def test_the_policy_names_the_two_scripts_and_no_more(outer: Page, inner: Page) -> None:
    hashes = [
        f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'"
        for s in inner.scripts[1:]
    ]
    assert outer.policy == f"{STRICT}; {FRAME.replace('SCRIPTS', ' '.join(hashes))}"
    # nothing of the corpus is in them, so that they and their hashes are those of any report
    assert "example.org" not in "".join(inner.scripts[1:])
    assert not any(name in inner.scripts[2] for name in NAMES)


def data_of(inner: Page) -> dict[str, Any]:
    assert inner.all("script")[0] == {"type": "application/json", "id": "data"}
    data: dict[str, Any] = json.loads(inner.scripts[0])
    return data


def test_hostile_text_is_data(made: Made, html: str, inner: Page) -> None:
    data = data_of(inner)
    for name in ("excerpt", "url", "source", "language"):
        assert data[name][0] == inert(HOSTILE + name)
    assert "@{url}{safe} \ufffdgnp.exe\ufffd" in data["excerpt"][0]
    # neither in the frame's attribute nor in the frame's own page does it end anything
    assert not re.search("[<>&]", inner.scripts[0])
    assert not re.search("<script|<img", html)
    assert "\u202e" not in html
    # the model that Bokeh interprets has no word of it
    model = json.dumps(data["chart"])
    assert "alert" not in model
    assert "example.org" not in model
    assert "gnp" not in model
    assert data["legend"][1]["name"] == NAMES[1]
    assert "<bdi>sports &amp; &lt;i&gt;games&lt;/i&gt;</bdi>" in (
        Page(html).all("iframe")[0]["srcdoc"] or ""
    )


def test_every_document_is_drawn_in_its_domain(made: Made, inner: Page) -> None:
    rows = partfiles.read_table(map_path(made.workdir)).to_pylist()
    data = data_of(inner)
    names = [*NAMES, "dropped"]
    assert [entry["name"] for entry in data["legend"]] == names
    assert [data["legend"][number]["name"] for number in data["entry"]] == [
        names[row["domain"]] for row in rows
    ]
    assert data["x"] == pytest.approx([row["x"] for row in rows], abs=1e-4)
    assert data["y"] == pytest.approx([row["y"] for row in rows], abs=1e-4)
    assert len(inner.all("button")) == len(names) + 2


def test_the_same_map_gives_the_same_bytes(made: Made, html: str) -> None:
    assert Path(write_report(made.workdir, made.corpus)).read_text() == html


def drawn(made: Made, count: int, domains: int = 3, length: int = 400) -> Page:
    """The frame of a made-up map."""
    row = {"x": 0.5, "y": -0.25, "id": "i", "url": "https://example.org/" + "u" * 80, "quality": 1}
    row |= {"source": "crawl", "language": "en", "excerpt": "e" * length}
    rows = [row | {"domain": number % domains} for number in range(count)]
    partfiles.write_table(map_path(made.workdir), pa.Table.from_pylist(rows, MAP))
    html = Path(write_report(made.workdir, made.corpus)).read_text()
    return Page(Page(html).all("iframe")[0]["srcdoc"] or "")


def test_what_the_map_adds_is_bounded(tmp_path: Path) -> None:
    made = build(str(tmp_path))
    plain = len(Path(write_report(made.workdir, made.corpus)).read_bytes())
    drawn(made, 1)
    library = Path(made.workdir.path("report.html")).stat().st_size - plain
    assert library < 1_500_000
    drawn(made, 2_000)
    first = Path(made.workdir.path("report.html")).stat().st_size - plain - library
    assert first < 2_000 * 650
    # more documents have less text each
    excerpts = data_of(drawn(made, 4_000))["excerpt"]
    assert {len(text) for text in excerpts} == {202}
    second = Path(made.workdir.path("report.html")).stat().st_size - plain - library
    assert second < 1.4 * first


def test_domains_beyond_the_colours_have_other_markers(tmp_path: Path) -> None:
    made = build(str(tmp_path))
    path = made.workdir.path("domains.parquet")
    table = partfiles.read_table(path)
    rows = [table.to_pylist()[0] | {"domain": n, "name": f"d{n}"} for n in range(49)]
    partfiles.write_table(path, pa.Table.from_pylist(rows, table.schema))
    legend = data_of(drawn(made, 98, domains=49))["legend"]
    assert len({(entry["colour"], entry["marker"]) for entry in legend}) == 49
    assert len({entry["colour"] for entry in legend[:7]}) == 7
    assert len({entry["marker"] for entry in legend[:7]}) == 1


def test_bokeh_makes_its_model_once(made: Made, html: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Path(made.workdir.root, "_stages/report/chart.json")
    assert kept.exists()
    model = report_chart._model
    monkeypatch.setattr(report_chart, "_model", lambda: pytest.fail("it is made again"))
    assert Path(write_report(made.workdir, made.corpus)).read_text() == html
    kept.write_text('{"fingerprint": "another version"}')
    monkeypatch.setattr(report_chart, "_model", model)
    assert Path(write_report(made.workdir, made.corpus)).read_text() == html
    assert "another version" not in kept.read_text()


@pytest.mark.parametrize("version", [None, "3.7.3", "2.99"])
def test_without_bokeh_the_report_says_how_to_get_it(
    made: Made, monkeypatch: pytest.MonkeyPatch, version: str | None
) -> None:
    def installed(name: str) -> str:
        if version is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return version

    monkeypatch.setattr(importlib.metadata, "version", installed)
    html = Path(write_report(made.workdir, made.corpus)).read_text()
    assert 'bokeh, 3.8 or later: pip install "mixcurate[map]"' in html
    assert not Page(html).all("iframe")
    assert Page(html).policy == STRICT
