from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import yaml

from mixcurate.errors import InputError, OutputError, RequestError
from mixcurate.io import partfiles
from mixcurate.io.head_file import read_head_file
from mixcurate.io.labels_file import read_labels
from mixcurate.io.workdir import Part, Success, Workdir
from mixcurate.kernels import head_metrics, heads
from mixcurate.kernels.head_signals import Signals
from mixcurate.kernels.signals import SIGNALS, text_signals
from mixcurate.models import language
from mixcurate.models.encoders import EmbedParams
from mixcurate.models.resolve import resolve
from mixcurate.recipe_file import dump_recipe, load_recipe
from pipelines.head_card import plain
from pipelines.labelled_vectors import run_encoder, vectors_by_id, vectors_of_texts
from pipelines.train_quality import TrainOptions, render, train
from tests.transforms.small_workdir import write_documents, write_vectors

PARTS = {"a": 150, "b": 90}
ENCODER = {
    "model": "made up",
    "revision": None,
    "weights_sha256": "0" * 64,
    "max_tokens": 16,
    "long_documents": "truncate",
    "dimension": 12,
}
LOUD = ["a goal in minute {}", "the team won game {}", "match {} was lost", "penalty number {}"]
CALM = ["a soup of {} onions", "{} spoons of sugar", "bake {} loaves", "{} eggs and butter"]


def write_run(root: Path, encoder: dict, recipe: dict | None = None) -> dict[str, np.ndarray]:
    """A run that has been embedded; the vectors of its documents by id."""
    home = Workdir(str(root))
    random = np.random.default_rng(5)
    found = {}
    for name, n in PARTS.items():
        table = write_documents(home, name, n)
        for column in (f"signal_{one}" for one in SIGNALS):
            if column not in table.column_names:
                table = table.append_column(column, pa.array(random.random(n), pa.float32()))
        partfiles.write_table(home.part("ingest", name), table)
        ids = table.column("id").to_pylist()
        vectors = random.standard_normal((n, 12)).astype(np.float32)
        write_vectors(home, name, vectors)
        found |= dict(zip(ids, vectors, strict=True))
    parts = [Part(name, n, 10, "x") for name, n in PARTS.items()]
    home.write_success(
        "embed", Success("f", parts, 240, 240, 20, {}, 1.0, details={"encoder": encoder})
    )
    asked = {
        "name": "small",
        "workdir": ".",
        "inputs": [{"path": "in.jsonl"}],
        "embed": {"max_tokens": 16},
        "mixture": {"budget_tokens": 1_000},
    }
    (root / "recipe.yaml").write_text(yaml.safe_dump(asked))
    (root / "recipe.yaml").write_text(dump_recipe(load_recipe(str(root / "recipe.yaml"))))
    return found


@pytest.fixture
def run(tmp_path, monkeypatch) -> dict[str, np.ndarray]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    return write_run(tmp_path / "run", ENCODER)


def write_lines(path: str, rows: list[dict]) -> str:
    Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def judged(vectors: dict[str, np.ndarray]) -> list[dict]:
    """Labels that the vectors tell: two dimensions, and a group of each document."""
    return [
        {"id": one, "depth": int(v[0] > 0) + int(v[0] > 1), "clear": int(v[1] > 0), "site": n // 3}
        for n, (one, v) in enumerate(vectors.items())
    ]


def trained(rows: list[dict], **options):
    """With heads on vectors, which are fitted sooner."""
    given = {"dimensions": ("depth=0:2", "clear"), "inputs": "vectors"} | options
    labels = write_lines("labels.jsonl", rows)
    return train(labels, "head.safetensors", workdir="run", options=TrainOptions(**given))


def run_signals() -> np.ndarray:
    """Signals of the run's documents: float32 ``[n, s]``."""
    tables = [partfiles.read_table(Workdir("run").part("ingest", name)) for name in PARTS]
    columns = [pa.concat_tables(tables).column(f"signal_{name}") for name in SIGNALS]
    return np.stack([column.to_numpy() for column in columns], axis=1)


def test_heads_learn_from_labels_by_id(run):
    done = trained(judged(run))
    assert [d.name for d in done.dimensions] == ["clear", "depth"]
    assert [(d.least, d.most, d.labelled) for d in done.dimensions] == [(0, 1, 240), (0, 2, 240)]
    assert done.documents == done.rows == 240
    assert 30 < done.held_out < 70
    assert all(d.measured.spearman > 0.75 for d in done.dimensions)
    assert all(d.measured.mse < 0.5 * d.measured.constant_mse for d in done.dimensions)
    assert all(abs(d.heuristics_spearman) < 0.5 for d in done.dimensions)
    assert (done.unknown, done.unusable, done.rejected_path) == (0, 0, None)
    file = read_head_file("head.safetensors")
    assert file.dimensions == (("clear", 0, 1), ("depth", 0, 2))
    assert file.encoder == ENCODER
    assert file.trained_on["documents"] == 240
    assert file.measured["documents"] == done.held_out


@pytest.mark.parametrize("inputs", ["both", "vectors", "signals"])
def test_figures_are_of_a_head_that_has_not_seen_the_documents(run, inputs):
    rows = judged(run)
    done = trained(rows, seed=3, inputs=inputs)
    keys = pa.array([row["id"] for row in rows])
    test = head_metrics.held_out(keys, 3, 0.2)
    vectors = np.stack(list(run.values()))
    labels = np.array([[row["clear"], row["depth"]] for row in rows], np.float64)
    dimensions = [heads.HeadDimension("clear", 0, 1), heads.HeadDimension("depth", 0, 2)]
    beside = None if inputs == "vectors" else run_signals()

    def fit(chosen):
        shown = beside if beside is None else Signals(tuple(SIGNALS), beside[chosen])
        shown = shown and shown._replace(alone=inputs == "signals")
        return heads.fit(vectors[chosen], labels[chosen], dimensions, signals=shown, seed=3)

    fitted = fit(~test)
    shown = beside if beside is None else beside[test]
    predicted, decided = (f(fitted, vectors[test], shown) for f in (heads.predict, heads.decide))
    expected = head_metrics.measure(predicted, decided, labels[test], dimensions)
    assert [d.measured for d in done.dimensions] == expected
    assert read_head_file("head.safetensors").measured["dimensions"][0]["measured"]["n"] == 41
    whole = fit(np.full(240, True))
    np.testing.assert_array_equal(
        read_head_file("head.safetensors").layers[0][0], whole.layers[0][0]
    )


def test_the_same_labels_give_the_same_bytes(run):
    rows = judged(run)
    trained(rows, command="x", inputs="signals")
    first = Path("head.safetensors").read_bytes(), Path("head.md").read_bytes()
    trained(rows[::-1], command="x", inputs="signals")
    assert (Path("head.safetensors").read_bytes(), Path("head.md").read_bytes()) == first
    trained(rows, command="x", inputs="signals", seed=1)
    assert Path("head.safetensors").read_bytes() != first[0]


def test_what_a_head_reads_is_chosen_and_told(run):
    rows = judged(run)
    long = run_signals()[:, list(SIGNALS).index("n_words")]
    for row, words in zip(rows, long, strict=True):
        row["long"] = int(words > np.median(long))
    done = trained(rows, dimensions=("clear", "long"), inputs="both")
    clear, length = done.dimensions
    assert clear.reads == "the vector"
    assert "the signals" in length.reads
    assert length.measured.spearman > 0.8
    file = read_head_file("head.safetensors")
    assert file.signals == tuple(SIGNALS)
    assert file.trained_on["inputs"] == "both"
    assert file.trained_on["reads"] == {"clear": clear.reads, "long": length.reads}
    card = Path("head.md").read_text()
    assert "0 to 1 points, from the vector\n" in card
    assert f"`quality_long`, 0 to 1 points, from {length.reads}" in card
    assert "its vector and its signals" in card
    blind = trained(rows, dimensions=("clear", "long"))
    assert [one.reads for one in blind.dimensions] == ["the vector"] * 2
    assert blind.dimensions[1].measured.spearman < 0.5
    assert read_head_file("head.safetensors").signals == ()
    assert "by its vector alone" in Path("head.md").read_text()


def test_groups_stay_together(run, monkeypatch):
    seen = []
    monkeypatch.setattr(
        head_metrics, "held_out", lambda keys, *_: seen.append(keys) or np.arange(240) % 5 == 0
    )
    done = trained(judged(run), group="site")
    assert seen[0].to_pylist() == [str(n // 3) for n in range(240)]
    assert done.groups == 80
    assert "the field site (80 groups)" in Path("head.md").read_text()


def test_what_cannot_be_used_is_listed_with_its_line(run):
    rows = judged(run)
    home = Workdir("run")
    vectors = np.stack([v for one, v in run.items() if one.startswith("b")])
    vectors[4] = 0
    write_vectors(home, "b", vectors)
    rows[2]["id"] = "gone"
    rows[7] |= {"clear": None, "depth": None}
    done = trained([*rows, rows[0] | {"depth": 2}])
    assert (done.rows, done.repeated, done.unlabelled) == (241, 1, 1)
    assert (done.documents, done.unknown, done.unusable) == (237, 1, 1)
    told = [json.loads(line) for line in Path(done.rejected_path).read_text().splitlines()]
    assert told == [
        {"id": "gone", "path": "labels.jsonl", "line": 3, "reason": "unknown_id"},
        {"id": "b-0004", "path": "labels.jsonl", "line": 155, "reason": "invalid_embedding"},
    ]
    assert "1 documents the run does not have: head.safetensors.rejected" in render(done)
    trained(judged(run)[:150])
    assert not Path("head.safetensors.rejected").exists()


def test_of_documents_with_one_id_the_first_counts(run):
    home = Workdir("run")
    table = partfiles.read_table(home.part("ingest", "b"))
    ids = ["a-0000", "b-0001", "b-0001", *table.column("id").to_pylist()[3:]]
    table = table.set_column(table.column_names.index("id"), "id", pa.array(ids))
    partfiles.write_table(home.part("ingest", "b"), table)
    labels = read_labels(write_lines("labels.jsonl", judged(run)[::-1]), by="id")
    found = vectors_by_id(labels, home)
    keys = labels.keys.to_pylist()
    assert [one for one, known in zip(keys, found.known, strict=True) if not known] == [
        "b-0002",
        "b-0000",
    ]
    expected = [run[one] if one not in ("b-0002", "b-0000") else np.zeros(12) for one in keys]
    np.testing.assert_array_equal(found.vectors, expected)
    assert np.isnan(found.signals[~found.known]).all()
    by_id = dict(zip(run, run_signals(), strict=True))
    expected = [by_id[one] for one in keys if one not in ("b-0002", "b-0000")]
    np.testing.assert_array_equal(found.signals[found.known], expected)


def test_labels_of_another_run_are_told(run):
    rows = [row | {"id": f"other {n}"} for n, row in enumerate(judged(run))]
    with pytest.raises(RequestError, match=r"run has none of its 240 documents .*other 0, other 1"):
        trained(rows)
    assert len(Path("head.safetensors.rejected").read_text().splitlines()) == 240
    assert not Path("head.safetensors").exists()


def test_a_run_without_vectors_and_labels_without_a_run(run):
    Workdir("run").clear_success("embed")
    with pytest.raises(RequestError, match=r"no embeddings; run: mixcurate embed"):
        trained(judged(run))
    with pytest.raises(RequestError, match="give --workdir"):
        train("labels.jsonl", "head", options=TrainOptions())


@pytest.mark.parametrize("share", [0.0, -1.0, 0.6])
def test_a_share_that_will_not_do(run, share):
    with pytest.raises(RequestError, match="--held-out"):
        trained(judged(run), held_out=share)


def test_too_few_labels_are_told(run):
    with pytest.raises(InputError, match="a head needs at least 20"):
        trained(judged(run)[:20])
    with pytest.raises(InputError, match="in 1 groups cannot be parted"):
        trained([row | {"site": 1} for row in judged(run)], group="site")


def test_the_labels_are_never_overwritten(run):
    labels = write_lines("head.jsonl", judged(run))
    Path("link.md").symlink_to("head.jsonl")
    Path("alias.jsonl").symlink_to("head.jsonl")
    options = TrainOptions(dimensions=("clear",))
    for given, out in (
        ("head.jsonl", "head.jsonl"),
        ("head.jsonl", "link.safetensors"),
        ("alias.jsonl", "head.jsonl"),
    ):
        with pytest.raises(OutputError, match=r"\.jsonl holds the labels"):
            train(given, out, workdir="run", options=options)
    with pytest.raises(OutputError, match="is a folder"):
        train(labels, "run", workdir="run")
    assert len(Path("head.jsonl").read_text().splitlines()) == 240


def test_the_card_says_what_the_head_is(run):
    done = trained(judged(run)[:100], hidden=4, command="mixcurate train-quality `x`\n# Head")
    card = Path("head.md").read_text()
    assert done.card == "head.md"
    for text in ("hidden layer of 4 units", "made up (12 numbers", "100 documents used", "Niu"):
        assert text in card
    assert "\n    mixcurate train-quality `x` # Head\n" in card
    depth = done.dimensions[1].measured
    assert f"| depth | {depth.n} | {depth.mae:.3f} | {depth.constant_mae:.3f} |" in card
    assert card.count("\n| depth |") == 2 + len(depth.reliability)
    assert "depth: measured on" in card
    assert "rough" in render(done)
    json.dumps(dataclasses.asdict(done))


def test_text_from_outside_is_no_markup():
    text = "a|b\n# <b>*x*</b> `c` [d](e) \u202e"
    assert plain(text) == r"a\|b \# &lt;b&gt;\*x\*&lt;/b&gt; \`c\` \[d\](e)" + " \ufffd"


def test_a_head_that_learned_nothing_is_called_so(run):
    random = np.random.default_rng(1)
    rows = [row | {"clear": int(random.integers(2))} for row in judged(run)]
    done = trained(rows, dimensions=("clear",))
    assert done.dimensions[0].measured.spearman < 0.4
    assert any(
        "no nearer to the labels" in note or "rank the held-out" in note for note in done.notes
    ) or (done.dimensions[0].measured.mse < done.dimensions[0].measured.constant_mse)


def sentences(n: int) -> list[dict]:
    """Texts of two kinds and their labels."""
    return [{"text": (LOUD, CALM)[i % 2][i // 2 % 4].format(i), "calm": i % 2} for i in range(n)]


def test_texts_are_embedded(run):
    labels = write_lines("texts.jsonl", sentences(100))
    options = TrainOptions(inputs="vectors")
    done = train(labels, "1.safetensors", options=options)
    assert done.encoder["weights_sha256"] == resolve(EmbedParams()).weights
    assert done.dimensions[0].measured.spearman > 0.7
    # a run with the same model, and other threads
    Workdir("run").clear_success("embed")
    recipe = Path("run/recipe.yaml")
    recipe.write_text(recipe.read_text().replace("max_tokens: 16", "max_tokens: 256"))
    train(labels, "2.safetensors", workdir="run", options=options, threads=2)
    assert Path("1.safetensors").read_bytes() == Path("2.safetensors").read_bytes()


def test_texts_have_the_signals_that_ingest_computes(run):
    texts = ["Det är en katt och den ser på mig, men jag vet inte varför.", "a b", "- x\n\n- y #"]
    labels = write_lines("texts.jsonl", [{"text": f"\n{text} ", "x": 1} for text in texts])
    given = read_labels(labels, by="text")
    found = vectors_of_texts(given, None, "embedded", 1)
    codes = pa.array(language.identify(texts)[0], pa.string())
    assert codes[0].as_py() == "sv"
    expected = text_signals(pa.array(texts, pa.large_string()), codes).to_pandas().to_numpy()
    np.testing.assert_array_equal(found.signals, expected)


def test_texts_take_the_model_of_the_run(run):
    labels = write_lines("texts.jsonl", sentences(40))
    assert run_encoder(Workdir("run")).max_tokens == 16
    with pytest.raises(InputError, match=r"run is for vectors of made up.*embed RECIPE"):
        train(labels, "head.safetensors", workdir="run", options=TrainOptions())
