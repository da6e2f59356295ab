"""``mixcurate plan RECIPE --stage embed``: what it predicts, for what is left, and bad requests."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from safetensors.numpy import save_file

from mixcurate.models.embedded import encoder_folder
from mixcurate.models.encoders import EmbedParams
from mixcurate.models.resolve import resolve
from pipelines import estimate
from pipelines.rates import model_flops, read_rates
from tests.pipelines.conftest import invoke, write_job

RATES = Path(__file__).parents[2] / "configs/rates.yaml"
TABLE = ("--rates", RATES, "--device", "nvidia-l4")


def predict(recipe: Path, *words: object) -> dict[str, Any]:
    result = invoke("plan", recipe, "--stage", "embed", "--json", "--quiet", *map(str, words))
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def refused(recipe: Path, *words: object) -> str:
    result = invoke("plan", recipe, "--stage", "embed", *map(str, words))
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    return result.stderr


@pytest.fixture(scope="module")
def ingested(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recipe of a job that has ended ingest only; read it, do not change it."""
    folder = tmp_path_factory.mktemp("ingested")
    recipe = write_job(folder)
    for kept in ("documents", "_stages/ingest"):
        shutil.copytree(finished / "work" / kept, folder / "work" / kept)
    return recipe


def test_counting_all_documents_gives_what_the_stage_reads(finished: Path, ingested: Path) -> None:
    metrics = json.loads((finished / "work/metrics.json").read_text())
    found = predict(ingested, *TABLE)
    assert found["documents"] == found["documents_left"] == metrics["embed"]["documents_in"]
    assert found["documents_sampled"] == found["documents"]
    assert set(found["tokens"].values()) == {metrics["embed"]["tokens"]}


def test_a_sample_predicts_the_total_within_its_interval(
    ingested: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (*TABLE, "--set", "embed.max_tokens=256")
    truth = predict(ingested, *words)["tokens"]["value"]
    monkeypatch.setattr(estimate, "_SAMPLE_DOCUMENTS", 60)
    monkeypatch.setattr(estimate, "_SAMPLE_PARTS", 4)
    found = [predict(ingested, *words, "--set", f"seed={seed}") for seed in range(8)]
    assert all(60 <= one["documents_sampled"] <= 64 for one in found)
    intervals = [one["tokens"] for one in found]
    assert sum(one["low"] <= truth <= one["high"] for one in intervals) >= 7
    assert all(one["low"] < one["value"] < one["high"] < 2 * truth for one in intervals)
    assert len({one["value"] for one in intervals}) == 8
    assert predict(ingested, *words, "--set", "seed=3")["tokens"] == intervals[3]


def test_a_probe_gives_hours_and_cost_and_writes_nothing(ingested: Path) -> None:
    before = sorted(ingested.parent.rglob("*"))
    words = ("--probe-seconds", "0.2", "--price-per-hour", "3")
    found = predict(ingested, *words)
    rate, hours, cost = found["rate"], found["hours"], found["cost"]
    assert found["measured"]
    assert found["currency"] is None
    assert 0 < rate["low"] < rate["value"] < rate["high"]
    assert hours["value"] == pytest.approx(found["tokens"]["value"] / rate["value"] / 3600)
    assert hours["low"] < hours["value"] < hours["high"]
    assert cost == {name: pytest.approx(3 * number) for name, number in hours.items()}
    assert sorted(ingested.parent.rglob("*")) == before


def test_a_table_goes_by_operations_per_token(ingested: Path) -> None:
    found = predict(ingested, *TABLE)
    assert found["runs"] == "all-MiniLM-L6-v2, torch fp16 on cuda, 16 tokens"
    # 16 tokens a document: 21.2 MFLOP and 9.2 kFLOP x 16 for each
    per_token = 21.2e6 + 9.2e3 * 16
    assert found["rate"]["value"] == pytest.approx(30.25e12 / per_token, rel=0.01)
    assert found["rate"]["high"] / found["rate"]["low"] == pytest.approx(4.5)
    assert found["hours"]["high"] / found["hours"]["value"] == pytest.approx(2.5)
    assert found["cost"]["value"] == pytest.approx(found["hours"]["value"] * 0.71)
    assert (found["measured"], found["currency"]) == (False, "USD")
    own = predict(ingested, *TABLE, "--price-per-hour", "2")
    assert (own["price_per_hour"], own["currency"]) == (2, None)


def test_people_get_a_table_on_stdout_and_words_on_stderr(ingested: Path) -> None:
    result = invoke("plan", ingested, "--stage", "embed", *TABLE)
    assert result.exit_code == 0, result.output
    for word in ("tokens/s", "time on 4 machines", "cost USD", "not measured", "exact"):
        assert word in result.stdout
    assert "time on 16 machines" not in result.stdout  # there are fewer parts
    assert "datasheet" in result.stderr
    assert "list price" in result.stderr


def test_only_what_is_left_is_priced(finished: Path, tmp_path: Path) -> None:
    recipe = finished / "recipe.yaml"
    done = predict(recipe, "--price-per-hour", "3")
    assert done["documents_left"] == done["parts_left"] == done["cost"]["value"] == 0
    assert "0 are left" in invoke("plan", recipe, "--stage", "embed").stderr
    shutil.copytree(finished / "work", tmp_path / "work")
    manifest = min((tmp_path / "work/_stages/embed/tasks").glob("*.json"))
    part = json.loads(manifest.read_text())
    manifest.unlink()
    here = ("--set", f"workdir={tmp_path / 'work'}")
    found = predict(recipe, "--probe-seconds", "0.2", *here)
    assert (found["parts_left"], found["documents_left"]) == (1, part["documents_in"])
    assert found["tokens"]["value"] == part["tokens"]
    other = predict(recipe, "--probe-seconds", "0.2", *here, "--set", "embed.max_tokens=8")
    assert other["documents_left"] == other["documents"] == done["documents"]


def test_plan_without_embed_points_to_the_estimate(ingested: Path) -> None:
    result = invoke("plan", ingested)
    assert result.exit_code == 2
    assert "'score' has not finished" in result.stderr
    assert "mixcurate plan RECIPE --stage embed" in result.stderr
    result = invoke("plan", ingested, *TABLE)
    assert result.exit_code == 2
    assert "--probe-seconds go with --stage embed" in result.stderr


def test_it_needs_ingest(tmp_path: Path) -> None:
    assert "mixcurate ingest" in refused(write_job(tmp_path, 30))


GOOD = yaml.safe_load(RATES.read_text())["devices"]["nvidia-l4"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read: No such file"),
        ("devices: [", "rates.yaml:1:11: not valid YAML"),
        ("[1]", "the file: must be a mapping"),
        ("", "the file: must be a mapping"),
        ("device: {}", "devices: missing; add it"),
        ({"devices": {}}, "devices: "),
        ({"devices": {"nvidia-l4": GOOD | {"tdp": 72}}}, "devices.nvidia-l4.tdp: unknown key"),
        ({"devices": {"nvidia-l4": {"kind": "cuda"}}}, "devices.nvidia-l4.tflops: missing"),
        (
            {"devices": {"nvidia-l4": GOOD | {"price": GOOD["price"] | {"per_hour": -1}}}},
            "devices.nvidia-l4.price.per_hour: must be greater than 0, got -1",
        ),
        (
            {"devices": {"nvidia-l4": GOOD | {"tflops": {"fp12": GOOD["tflops"]["bf16"]}}}},
            "devices.nvidia-l4.tflops.fp12: must be 'fp32'",
        ),
        (
            {"devices": {"nvidia-l4": GOOD | {"tflops": {"bf16": GOOD["tflops"]["bf16"]}}}},
            "devices.nvidia-l4.tflops has no fp16",
        ),
    ],
)
def test_bad_tables_are_refused_by_file_and_key(
    content: object, words: str, ingested: Path, tmp_path: Path
) -> None:
    rates = tmp_path / "rates.yaml"
    if content is not None:
        rates.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    message = refused(ingested, "--rates", rates, "--device", "nvidia-l4")
    assert str(rates) in message
    assert words in message


def test_requests_that_do_not_go_together_are_refused(ingested: Path) -> None:
    assert "did you mean 'nvidia-l4'?" in refused(
        ingested, "--rates", RATES, "--device", "nvidia-14"
    )
    assert "nvidia-a100-40gb" in refused(ingested, "--rates", RATES)
    assert "--rates configs/rates.yaml" in refused(ingested, "--device", "nvidia-l4")
    assert "embed.device is cpu" in refused(ingested, *TABLE, "--set", "embed.device=cpu")
    for option in ("--price-per-hour", "--probe-seconds"):
        for number in ("0", "-1", "nan", "inf"):
            assert f"{option} must be a positive number" in refused(ingested, option, number)


def test_a_static_model_is_probed_only(ingested: Path, tmp_path: Path) -> None:
    shutil.copy(Path(encoder_folder()) / "tokenizer.json", tmp_path)
    table = np.random.default_rng(0).normal(size=(30_522, 8)).astype(np.float32)
    save_file({"embedding.weight": table}, tmp_path / "model.safetensors")
    modules = [{"idx": 0, "name": "0", "path": "", "type": "models.StaticEmbedding"}]
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    model = ("--set", f"embed.model={tmp_path}")
    assert "a static model" in refused(ingested, *model, *TABLE)
    assert predict(ingested, *model, "--probe-seconds", "0.1")["rate"]["value"] > 0


def test_operations_of_the_embedded_model_and_of_shared_layers(tmp_path: Path) -> None:
    flops = model_flops(resolve(EmbedParams()))
    assert flops.per_token == pytest.approx(21.2e6, rel=2e-3)
    assert flops.per_token_and_length == pytest.approx(9.2e3, rel=2e-3)
    weights = {"encoder.layers.0.w": np.zeros((4, 6)), "embedding.w": np.zeros((9, 4))}
    save_file(weights | {"encoder.layers.0.b": np.zeros(4)}, tmp_path / "model.safetensors")
    config = {"num_hidden_layers": 12, "num_hidden_groups": 1, "hidden_size": 4}
    (tmp_path / "config.json").write_text(json.dumps(config))
    flops = model_flops(resolve(EmbedParams(model=str(tmp_path))))
    assert flops == (2 * 12 * 24, 4 * 12 * 4)


def test_the_table_in_the_repository_says_what_is_measured() -> None:
    peaks = {"l4": 121, "a100": 312, "h100": 989, "h200": 989}
    for name, device in read_rates(str(RATES)).devices.items():
        for speed in device.tflops.values():
            assert speed.measured == (device.kind == "cpu")
            if device.kind == "cuda":
                peak = peaks[name.split("-")[1]]
                shares = np.array([speed.low, speed.typical, speed.high]) / peak
                assert shares.tolist() == pytest.approx([0.10, 0.25, 0.45])


def test_a_probe_for_workers_elsewhere_says_what_was_probed(ingested: Path) -> None:
    cloud = ("--", "--runner=DataflowRunner", "--project=p", "--temp_location=gs://x/y")
    result = invoke("plan", ingested, "--stage", "embed", "--probe-seconds", "0.1", *cloud)
    assert result.exit_code == 0, result.output
    assert "torch fp16 on cuda" in result.stdout
    assert "probe on this machine: " in result.stdout
    assert "the stage on DataflowRunner" in result.stderr
