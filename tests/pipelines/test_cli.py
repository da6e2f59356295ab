"""The command line itself: help, start-up, init, schema, report, JSON."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mixcurate.recipe import STAGES
from pipelines.reference import reference
from tests.pipelines.conftest import invoke, write_job

ROOT = Path(__file__).parents[2]


def test_help_names_every_command_and_loads_nothing_heavy() -> None:
    result = invoke("--help")
    commands = (
        "init", "run", *STAGES, "update", "label", "annotate", "train-quality", "explain",
        "inspect", "verify", "diff", "proxy", "report", "export", "doctor", "schema",
    )  # fmt: skip
    assert result.exit_code == 0
    for command in commands:
        assert f"  {command} " in result.stdout
    heavy = "apache_beam", "torch", "pyarrow", "numpy", "pydantic"
    code = "import sys, mixcurate, pipelines.cli; print(*[m for m in sys.modules if '.' not in m])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert not set(heavy) & set(done.stdout.split())


#: Packages of ingest, embed, cluster, score and the report. Without pandas: Beam loads it itself.
OF_OTHERS = {"bokeh", "faiss", "jinja2", "polars", "scipy", "sklearn", "torch", "transformers"}


@pytest.mark.parametrize("stage", ["plan", "materialize"])
def test_a_stage_loads_only_what_it_uses(tmp_path: Path, stage: str) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "one"}\n')
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("name: x\nworkdir: work\ninputs: [{path: a.jsonl}]\n")
    code = f"""
import sys
from pipelines.start import start_job
start_job({str(recipe)!r}, [], [])
import pipelines.{stage}
print(*[m for m in sys.modules if "." not in m])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True, cwd=ROOT
    )
    found = set(done.stdout.split())
    assert "apache_beam" in found
    assert not OF_OTHERS & found


@pytest.mark.parametrize(("words", "code"), [(["schema"], 0), (["verify", "nowhere"], 1)])
def test_the_command_ends_as_it_says_whatever_threads_are_left(words: list[str], code: int) -> None:
    """After a pipeline, exit handlers run and the interpreter is not torn down."""
    script = f"""
import atexit, os, sys, threading
sys.modules["apache_beam"] = sys
class Teardown:
    def __del__(self): os._exit(134)
sys.left = Teardown()
from pipelines import cli
atexit.register(print, "handlers ran")
sys.argv = ["mixcurate", *{words!r}]
cli.command()
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=False, text=True
    )
    assert done.returncode == code
    assert done.stdout.endswith("handlers ran\n")


def test_init_writes_a_recipe_that_runs(tmp_path: Path) -> None:
    result = invoke("init", tmp_path / "mine")
    assert result.exit_code == 0
    recipe = tmp_path / "mine/recipe.yaml"
    assert recipe.exists()
    source = write_job(tmp_path / "source", 120).parent / "in/*.jsonl"
    changes = [
        f"inputs.0.path={source}",
        "embed.max_tokens=8",
        "mixture.budget_tokens=null",
        "mixture.strategy=natural",
        "cluster.prune=null",
    ]
    result = invoke("run", recipe, *[w for change in changes for w in ("--set", change)])
    assert result.exit_code == 0, result.output
    assert invoke("init", tmp_path / "mine").exit_code == 2


def test_schema_is_json_schema_of_the_recipe() -> None:
    schema = json.loads(invoke("schema").stdout)
    assert set(schema["required"]) == {"name", "workdir", "inputs"}
    assert "embed" in schema["properties"]


def test_the_recipe_reference_is_up_to_date() -> None:
    assert (ROOT / "docs/recipe.md").read_text() == reference()


def test_recipe_problems_come_all_at_once_with_lines(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("name: x\nworkdir: w\ninputs: [{path: a}]\nmixtur: {}\ncluster: {k: 0}\n")
    result = invoke("run", recipe)
    assert result.exit_code == 2
    assert f"{recipe}:4: mixtur: unknown key; did you mean 'mixture'?" in result.stderr
    assert (
        f"{recipe}:5: cluster.k: must be greater than 0 or 'sqrt' or 'silhouette', got 0"
        in result.stderr
    )
    assert "Traceback" not in result.output


def test_run_until_stops_there_and_prints_the_plan(tmp_path: Path) -> None:
    recipe = write_job(tmp_path, 120, mixture={})
    result = invoke("run", recipe, "--until", "plan")
    assert result.exit_code == 0, result.output
    assert "epochs" in result.stdout
    assert "shards" in result.stdout
    assert (tmp_path / "work/plan.json").exists()
    assert not (tmp_path / "work/corpus/manifest.json").exists()


def test_json_is_all_there_is_on_stdout(finished: Path) -> None:
    result = invoke("run", finished / "recipe.yaml", "--json", "--quiet")
    summary = json.loads(result.stdout)
    assert set(summary["stages"]) == set(STAGES)
    assert summary["plan"]["budget_tokens"] == 24_000
    assert result.stderr == ""


def test_report_is_written_for_an_unfinished_workdir(finished: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    shutil.copytree(finished / "work", work)
    (work / "report.html").unlink()
    shutil.rmtree(work / "corpus")
    (work / "plan.json").unlink()
    assert invoke("report", work).exit_code == 0
    assert (work / "report.html").stat().st_size > 2_000
    result = invoke("report", tmp_path)
    assert result.exit_code == 2
    assert "is no workdir" in result.stderr
