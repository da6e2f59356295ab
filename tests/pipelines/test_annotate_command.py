"""``mixcurate annotate`` on a real job, and heads from what it has written."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fake_endpoint import FakeEndpoint, Sent, answer, fake_endpoint
from tests.pipelines.annotating import shown
from tests.pipelines.conftest import invoke

RUBRIC = {
    "code": {"most": 2, "description": "How much is about statements and syntax."},
    "long": {"most": 1, "description": "Whether it is long."},
}


def judge(body: dict[str, Any]) -> Sent:
    """Points that a head can learn from the words of a text."""
    text = shown(body).lower()
    found = len(re.findall(r"\b(?:class|method|object|attribute)", text))
    return answer(json.dumps({"code": min(found // 2, 2), "long": int(len(text) > 800)}))


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEndpoint]:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    with fake_endpoint(judge) as endpoint:
        yield endpoint


def test_from_documents_to_heads(fake: FakeEndpoint, job: Path, tmp_path: Path) -> None:
    annotator = {"endpoint": fake.url, "model": "m", "documents": 120, "rubric": RUBRIC}
    setting = f"score.annotator={json.dumps(annotator)}"
    out = tmp_path / "labels.jsonl"
    result = invoke("annotate", job, "--out", out, "--set", setting)
    assert result.exit_code == 0, result.output
    assert len(fake.requests) == len(out.read_text().splitlines()) == 120
    assert "120 documents in" in result.stdout
    command = re.search(r"^To learn from them: mixcurate (.*)$", result.stdout, re.M)
    assert command
    heads = str(tmp_path / "heads.safetensors")
    trained = invoke(*shlex.split(command[1].replace("heads.safetensors", heads)))
    assert trained.exit_code == 0, trained.output
    assert Path(heads).exists()

    again = invoke("annotate", job, "--out", out, "--set", setting, "--json", "--quiet")
    done = json.loads(again.stdout)
    assert (done["labelled"], done["requests"], done["from_cache"]) == (120, 0, 120)
    assert done["dimensions"] == ["code=0:2", "long=0:1"]
    assert again.stderr == ""


def test_without_an_annotator_the_recipe_is_told_what_to_say(job: Path, tmp_path: Path) -> None:
    result = invoke("annotate", job, "--out", tmp_path / "labels.jsonl")
    assert result.exit_code == 2
    assert "annotator: {endpoint:" in result.output
