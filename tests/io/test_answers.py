from __future__ import annotations

from pathlib import Path

import pytest

from mixcurate.io.answers import AnswerFiles


def test_what_is_kept_is_found_by_another_run(tmp_path: Path) -> None:
    folder = str(tmp_path / "not" / "there")
    assert AnswerFiles(folder).get("abc") is None
    AnswerFiles(folder).put("abc", b"first")
    AnswerFiles(folder).put("abc", b"one")
    AnswerFiles(folder).put("abd", b"two")
    assert [AnswerFiles(folder).get(key) for key in ("abc", "abd", "xyz")] == [b"one", b"two", None]


def test_an_answer_that_cannot_be_kept_whole_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = AnswerFiles(str(tmp_path))

    def fail(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="no space"):
        files.put("abc", b"data")
    assert files.get("abc") is None
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_answers_may_be_kept_in_an_object_store() -> None:
    files = AnswerFiles("memory://answers-of-a-test")
    assert files.get("abc") is None
    files.put("abc", b"one")
    assert files.get("abc") == b"one"
