"""Every `mixcurate` command that the README shows, run as it stands, on a small quickstart."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from datasets import load_from_disk

from mixcurate.io import partfiles
from tests.documents import real_documents, write_jsonl
from tests.pipelines.conftest import invoke

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def shown_commands() -> Iterator[list[str]]:
    """Words of each ``mixcurate`` line in the README's shell blocks, in order."""
    for block in re.findall(r"```sh\n(.*?)```", README, re.S):
        for line in block.splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == ["mixcurate"]:
                yield words[1:]


def quickstart(folder: Path) -> None:
    """The quickstart with a smaller input and what that asks for; the rest as it is."""
    text = (ROOT / "configs/quickstart.yaml").read_text()
    for old, new in {
        "budget_tokens: 1_500_000": "budget_tokens: 20_000",
        "max_tokens: 256": "max_tokens: 16",
        "min_quality: 0.7": "min_quality: 0.3",
        "domains: 8": "domains: 3",
    }.items():
        assert old in text, f"the quickstart no longer says {old!r}"
        text = text.replace(old, new)
    (folder / "configs").mkdir()
    (folder / "configs/quickstart.yaml").write_text(text)
    shutil.copy(ROOT / "configs/rates.yaml", folder / "configs")
    write_jsonl(folder / "runs/quickstart-input/reference.jsonl", real_documents(250))


def an_id(workdir: Path) -> str:
    part = min((workdir / "documents").glob("part-*.parquet"))
    return str(partfiles.read_table(str(part), ["id"]).column("id")[0])


def smaller(word: str) -> str:
    """A word with the tokens that a small input has."""
    return word.replace("800_000", "3_000").replace("100_000", "2_000")


def test_the_commands_of_the_readme_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quickstart(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert invoke("run", "configs/quickstart.yaml").exit_code == 0
    texts = real_documents(120)
    labels = [{"text": text["text"], "useful": row % 2} for row, text in enumerate(texts)]
    write_jsonl(tmp_path / "my-labels.jsonl", labels)
    document = an_id(tmp_path / "runs/quickstart")
    shown = list(shown_commands())
    assert {words[0] for words in shown} >= {"inspect", "verify", "report", "run", "init", "schema"}
    for words in shown:
        small = [document if word == "ID" else smaller(word) for word in words]
        result = invoke(*small)
        assert result.exit_code == 0, f"{words}: {result.output}"
        assert result.stdout.strip(), f"{words} says nothing"
    assert (tmp_path / "runs/quickstart/report.html").exists()
    assert (tmp_path / "my-corpus/recipe.yaml").exists()


def test_the_recipe_of_the_readme_loads(tmp_path: Path) -> None:
    from mixcurate.recipe_file import load_recipe

    (block,) = re.findall(r"```yaml\n(.*?)```", README, re.S)
    (tmp_path / "recipe.yaml").write_text(block)
    assert load_recipe(str(tmp_path / "recipe.yaml")).mixture.strategy == "samplemix"


def test_the_loading_code_of_the_readme_works(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(finished / "work/corpus", tmp_path / "runs/quickstart/corpus")
    monkeypatch.chdir(tmp_path)
    rows = load_from_disk("runs/quickstart/corpus")["train"]
    tars = len(list((tmp_path / "runs/quickstart/corpus/wds").glob("*.tar")))
    for block in re.findall(r"```python\n(.*?)```", README, re.S):
        names: dict = {}
        exec(block.replace("000003", f"{tars - 1:06d}"), names)
        assert len(list(names["corpus"])) == len(rows)


RECIPES = sorted(set((ROOT / "configs").glob("*.yaml")) - {ROOT / "configs/rates.yaml"})


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda p: p.name)
def test_every_recipe_in_configs_loads(recipe: Path) -> None:
    from mixcurate.recipe_file import load_recipe

    assert load_recipe(str(recipe)).name
