"""fastText's classifiers against plain arithmetic, and files that are not what they should be."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from mixcurate.errors import InputError, MissingExtra
from mixcurate.models import text_classifier
from mixcurate.models.fasttext_classifier import one_line
from mixcurate.models.fasttext_file import read_labels
from mixcurate.models.text_classifiers import ClassifyStats
from mixcurate.params import ClassifierParams
from tests.models.encoding import ODD, REAL, has_package
from tests.models.fasttext_files import WORDS, FastTextFile

pytestmark = pytest.mark.skipif(not has_package("fasttext"), reason="needs fasttext")

TEXTS = [*REAL, *ODD, "the theorem proof river", "buy now\ncheap offers", "zebra", "a\0b the"]


def params(path: Path | str, **changes: object) -> ClassifierParams:
    return ClassifierParams(**({"name": "hq", "model": str(path), "label": "hq"} | changes))


def score(params: ClassifierParams, texts: list[str], *, threads: int = 2, size: int = 10_000):
    spec = text_classifier.resolve(params)
    batches = [texts[start : start + size] for start in range(0, len(texts), size)]
    return np.concatenate(list(text_classifier.load(spec, threads).score(batches, ClassifyStats())))


@pytest.mark.parametrize("changes", [{}, {"quantised": True}, {"ngrams": 1}, {"dim": 20}])
def test_a_probability_is_that_of_plain_arithmetic(tmp_path, changes):
    file = FastTextFile(**changes)
    found = score(params(file.write(tmp_path / "model.bin")), TEXTS)
    for text, value in zip(TEXTS, found, strict=True):
        if text.strip():
            line = " ".join(text.strip().splitlines())
            assert value == pytest.approx(file.probabilities(line)[0], abs=2e-4), text[:50]
        else:
            assert np.isnan(value)
    assert np.nanstd(found) > 0.05


def test_labels_that_are_numbers_give_their_expected_value(tmp_path):
    file = FastTextFile(["__label__3", "__label__0", "__label__5"])
    path = file.write(tmp_path / "model.bin")
    found = score(params(path, label=None), ["the theorem proof", "buy now"])
    expected = [
        float(file.probabilities(text) @ [3, 0, 5]) for text in ("the theorem proof", "buy now")
    ]
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert text_classifier.check(params(path, label=None)).range == (0, 5)
    three = score(params(path, label=3), ["buy now"])
    assert three[0] == pytest.approx(file.probabilities("buy now")[0], abs=2e-4)


def test_a_score_is_a_function_of_its_text(tmp_path):
    path = FastTextFile().write(tmp_path / "model.bin")
    whole = score(params(path), TEXTS)
    assert score(params(path), TEXTS, threads=1, size=1).tobytes() == whole.tobytes()
    assert score(params(path), TEXTS[::-1], threads=3, size=7)[::-1].tobytes() == whole.tobytes()


def test_a_text_is_read_to_its_end_as_one_line(tmp_path):
    path = FastTextFile().write(tmp_path / "model.bin")
    long = "cheap offers " * 20_000
    values = score(params(path), [long, long + "\nthe theorem" * 20_000, "a\nb", "a b"])
    assert values[0] != values[1]
    assert values[2] == values[3]
    assert one_line("  a\r\nb\u2028c\n") == "a b c"


def test_odd_texts_end_in_a_number_or_nan(tmp_path):
    path = FastTextFile().write(tmp_path / "model.bin")
    odd = ["\0\0", "\ud800 alone \udfff", "🙂🎉", "x" * 2_000_000, "the " * 99_000, " ", "", "\n"]
    values = score(params(path), odd)
    assert np.isnan(values).tolist() == [False] * 5 + [True] * 3
    assert ((values >= 0) & (values <= 1) | np.isnan(values)).all()


def test_values_that_are_not_finite_give_no_score(tmp_path):
    file = FastTextFile(ngrams=1, buckets=0)
    file.input[WORDS.index("river")] = np.nan
    spec = text_classifier.resolve(params(file.write(tmp_path / "model.bin")))
    stats = ClassifyStats()
    (found,) = text_classifier.load(spec, 1).score([["the river", "the bridge", ""]], stats)
    assert np.isnan(found).tolist() == [True, False, True]
    assert (stats.documents, stats.not_judged) == (3, 2)


def test_a_range_cuts(tmp_path):
    path = FastTextFile().write(tmp_path / "model.bin")
    plain = score(params(path), TEXTS[:40])
    cut = score(params(path, range=(0.4, 0.6)), TEXTS[:40])
    np.testing.assert_array_equal(cut, np.clip(plain, np.float32(0.4), np.float32(0.6)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": None}, "label: say the probability of which class.*has: hq, cc"),
        ({"label": "hqq"}, "has no class 'hqq'; did you mean 'hq'"),
        ({"label": 7}, "has no class 7; it has: hq, cc"),
        ({"device": "cuda"}, "fastText runs on a CPU"),
        ({"kind": "transformers"}, "is a file; a model of transformers is a folder"),
    ],
)
def test_requests_that_do_not_fit_say_what_would(tmp_path, changes, message):
    path = FastTextFile().write(tmp_path / "model.bin")
    with pytest.raises(InputError, match=f"score.quality.classifiers, 'hq': .*{message}"):
        text_classifier.check(params(path, **changes))


def test_a_label_may_be_written_with_its_prefix_or_as_a_number(tmp_path):
    path = FastTextFile().write(tmp_path / "model.bin")
    labels = [text_classifier.check(params(path, label=x)).label for x in ("__label__cc", "cc", 1)]
    assert labels == [1, 1, 1]


def test_a_path_that_is_not_there_names_the_nearest(tmp_path):
    FastTextFile().write(tmp_path / "quality.bin")
    with pytest.raises(InputError, match=r"no file or folder.*did you mean 'quality\.bin'"):
        text_classifier.check(params(tmp_path / "qualty.bin"))


def test_a_folder_with_one_file_is_that_file(tmp_path):
    one = FastTextFile().write(tmp_path / "a.bin")
    spec = text_classifier.resolve(params(tmp_path))
    assert spec.kind == "fasttext"
    assert spec.weights == text_classifier.resolve(params(one)).weights
    FastTextFile(seed=4).write(tmp_path / "b.ftz")
    with pytest.raises(InputError, match=r"has a\.bin, b\.ftz; name the file itself"):
        text_classifier.check(params(tmp_path))


def test_a_file_of_a_hub_model_is_named_with_it(tmp_path, monkeypatch):
    commit = tmp_path / "snapshots" / "0123abcd"
    (commit / "en").mkdir(parents=True)
    FastTextFile().write(commit / "en" / "quality.bin")

    def download(repository: str, file: str, revision: str | None) -> str:
        assert repository == "owner/classifiers"
        assert revision in ("main", "0123abcd")  # the commit, once it is known
        return str(commit / file)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    named = params("owner/classifiers/en/quality.bin", revision="main")
    spec = text_classifier.resolve(named)
    assert (spec.kind, spec.revision) == ("fasttext", "0123abcd")
    assert text_classifier.load(spec, 1).window > 0
    monkeypatch.undo()
    with pytest.raises(InputError, match=r"is no file on this machine, and the model hub does not"):
        text_classifier.check(params("owner/classifiers/en/quality.bin"))


def test_without_the_package_the_line_that_installs_it_is_told(tmp_path, monkeypatch):
    path = FastTextFile().write(tmp_path / "model.bin")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"pip install 'mixcurate\[fasttext\]'"):
        text_classifier.check(params(path))


def test_what_a_score_depends_on_changes_its_identity(tmp_path):
    path = FastTextFile().write(tmp_path / "a.bin")
    other = FastTextFile(seed=4).write(tmp_path / "b.bin")
    plain = text_classifier.resolve(params(path)).identity
    for changed in (params(other), params(path, label="cc"), params(path, range=(0, 0.5))):
        assert text_classifier.resolve(changed).identity != plain
    same = params(path, name="other", batch_tokens=7, max_tokens=9)
    assert text_classifier.resolve(same).identity == plain


@pytest.mark.parametrize("quantised", [False, True])
def test_a_file_cut_off_anywhere_is_refused(tmp_path, quantised):
    whole = FastTextFile(quantised=quantised).to_bytes()
    path = tmp_path / "model.bin"
    for length in [*range(0, 400, 3), *range(400, len(whole), 97), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match="is no fastText classifier"):
            read_labels(str(path), "here")
    path.write_bytes(whole + b"\0")
    with pytest.raises(InputError, match="1 bytes are left over"):
        read_labels(str(path), "here")


#: Offset of a field, what is written there, and what is said: all of these end the process, or read
#: beyond the model, when the library is given the file.
HOSTILE = {
    "magic": (0, "<i", 1, "does not begin as one"),
    "version": (4, "<i", 99, "version 99"),
    "dimension": (8, "<i", 2**31 - 1, "matrix is 60 by 6"),
    "no dimension": (8, "<i", 0, "0 dimensions"),
    "endless n-grams": (28, "<i", 2**30, "n-grams of 1073741824 words"),
    "loss": (32, "<i", 9, "its loss has number 9"),
    "vectors of words": (36, "<i", 1, "holds vectors of words"),
    "no buckets": (40, "<i", 0, "no buckets for them"),
    "more buckets": (40, "<i", 5_000, "matrix is 60 by 6, not 5,010 by 6"),
    "characters": (48, "<i", 10**6, "n-grams of 0 to 1000000 characters"),
    "entries": (64, "<i", 2**30, "entries"),
    "words": (68, "<i", -1, "-1 words"),
    "labels": (72, "<i", 0, "0 labels"),
    "pruned": (84, "<q", 2**40, "in the middle"),
    "count": (97, "<q", -5, "entry 0"),
    "kind": (105, "<b", 1, "entry 0"),
}


@pytest.mark.parametrize("field", HOSTILE)
def test_a_file_that_would_harm_the_library_is_refused(tmp_path, field):
    offset, layout, value, message = HOSTILE[field]
    data = bytearray(FastTextFile().to_bytes())
    struct.pack_into(layout, data, offset, value)
    path = tmp_path / "model.bin"
    path.write_bytes(data)
    with pytest.raises(InputError, match=message):
        text_classifier.check(params(path))


def test_a_file_that_is_something_else_is_refused(tmp_path):
    path = tmp_path / "model.bin"
    for data in (b"", b"PK\3\4" + b"\0" * 5_000, b"__label__hq some text\n" * 100):
        path.write_bytes(data)
        with pytest.raises(InputError, match="is no fastText classifier"):
            text_classifier.check(params(path))
