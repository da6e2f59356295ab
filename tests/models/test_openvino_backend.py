from __future__ import annotations

import concurrent.futures
import dataclasses
import itertools
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from mixcurate.errors import InputError
from mixcurate.kernels import kmeans
from mixcurate.models import openvino_convert
from mixcurate.models.openvino_convert import FACTS, NETWORK, converted
from mixcurate.models.resolve import load
from tests.documents import real_documents
from tests.models.encoding import (
    ODD,
    REAL,
    cosines,
    embed,
    needs_nncf,
    needs_openvino,
    sequences_of,
    silent,
    spec,
)

pytestmark = needs_openvino

TEXTS = REAL[:4] + ODD


def test_vectors_are_those_of_sentence_transformers(openvino_fp32, reference):
    vectors = embed(openvino_fp32, REAL + ODD, 25)
    assert vectors.shape == reference.shape == (72, openvino_fp32.dimension)
    assert vectors.dtype == np.float32
    assert cosines(vectors, reference).min() >= 0.9999
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_int8_keeps_the_direction_of_real_documents(openvino_int8, reference):
    # of documents only: an emoji or a single word has no room for errors to cancel out
    found = cosines(embed(openvino_int8, REAL), reference[:60])
    assert found.min() >= 0.98
    assert found.mean() >= 0.995
    assert found.max() < 0.99999, "not quantised"


def test_bf16_keeps_the_direction_of_short_texts(openvino_fp32, reference):
    from mixcurate.models.openvino_backend import OpenVinoBackend, has_bf16

    if not has_bf16():
        pytest.skip("this processor has no bf16: it is emulated, and takes a minute")
    backend = OpenVinoBackend(spec("openvino", "bf16"), threads=2)
    texts = REAL[:8]
    vectors = backend.submit(backend.tokenizer.tokenize(texts), silent)().vectors
    assert cosines(vectors, reference[:8]).min() >= 0.98


def test_int8_clusters_differ_less_than_those_of_two_seeds(openvino_int8):
    texts = [document["text"][:250] for document in real_documents(300)]
    fp32, int8 = (
        kmeans.normalise(embed(load(spec("openvino", precision, max_tokens=64), 2), texts))
        for precision in ("fp32", "int8")
    )

    def clusters(vectors: np.ndarray, seed: int) -> np.ndarray:
        centroids = kmeans.fit(vectors, k=12, iterations=20, seed=seed).centroids
        return kmeans.assign(vectors, centroids)[0]

    seeds = range(4)
    exact, quantised = ([clusters(vectors, seed) for seed in seeds] for vectors in (fp32, int8))
    pairs = list(itertools.combinations(seeds, 2))
    of_seeds = np.mean([adjusted_rand_score(exact[i], exact[j]) for i, j in pairs])
    of_int8 = np.mean([adjusted_rand_score(exact[i], quantised[i]) for i in seeds])
    of_both = np.mean([adjusted_rand_score(exact[i], quantised[j]) for i, j in pairs])
    noise = 0.06
    assert of_int8 >= of_seeds
    assert of_both >= of_seeds - noise
    assert of_seeds > 0.2, "these clusters mean nothing"


@pytest.mark.parametrize("fixture", ["openvino_fp32", "openvino_int8"])
def test_order_batches_and_threads_change_no_bit(fixture, request):
    two = request.getfixturevalue(fixture)
    one = load(two.spec, threads=1)
    expected = embed(two, TEXTS)
    assert embed(two, TEXTS).tobytes() == expected.tobytes()
    assert embed(one, TEXTS).tobytes() == expected.tobytes()
    assert embed(two, TEXTS, 1).tobytes() == expected.tobytes()
    order = np.random.default_rng(2).permutation(len(TEXTS))
    shuffled = embed(two, [TEXTS[i] for i in order], 7)
    assert shuffled.tobytes() == expected[order].tobytes()


def test_sequences_without_tokens_become_zeros(openvino_fp32):
    beats: list[tuple[int, int]] = []
    encoded = openvino_fp32._backend.submit(
        sequences_of([[], [101, 2028, 102], []]), lambda *beat: beats.append(beat)
    )()
    assert not encoded.vectors[[0, 2]].any()
    assert encoded.vectors[1].tobytes() == embed(openvino_fp32, ["one"])[0].tobytes()
    assert np.sum(beats, axis=0).tolist() == [3, 3]


def test_there_is_no_padding(openvino_fp32):
    sequences = openvino_fp32.tokenize(TEXTS)
    assert openvino_fp32._backend.submit(sequences, silent)().padded_tokens == len(sequences.ids)


def test_a_converted_model_is_run_without_torch_and_without_the_original(openvino_fp32):
    code = (
        "import sys\n"
        "from mixcurate.models import embedded, openvino_convert, resolve\n"
        "def never(*arguments): raise AssertionError\n"
        "openvino_convert.find_model = resolve.find_model = never\n"
        "from tests.models.encoding import embed\n"
        "from mixcurate.models.encoders import EncoderSpec\n"
        f"encoder = resolve.load({openvino_fp32.spec!r}, threads=1)\n"
        "sys.stdout.write(embed(encoder, ['one']).tobytes().hex())\n"
        "assert not {'torch', 'transformers', 'nncf'} & set(sys.modules)\n"
        "assert sys.modules['openvino_telemetry'] is None\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == embed(openvino_fp32, ["one"]).tobytes().hex()


def fake(text: str):
    """A conversion that takes no time; its facts hold ``text``."""

    def convert(model: str, folder: str, kind: str, target: Path) -> None:
        for name in ("network.bin", "head.xml", "head.bin", "tokenizer.json"):
            (target / name).write_text("")
        (target / NETWORK).write_text(kind)
        (target / FACTS).write_text(json.dumps(text))

    return convert


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "mixcurate" / "openvino"


def facts(folder: Path) -> str:
    return json.loads((folder / FACTS).read_text())


def test_a_model_is_converted_once(cache, monkeypatch):
    monkeypatch.setattr(openvino_convert, "_in_own_process", fake("first"))
    folder = converted(spec("openvino"))
    monkeypatch.setattr(openvino_convert, "_in_own_process", fake("second"))
    assert converted(spec("openvino", "bf16")) == folder
    assert facts(folder) == "first"
    assert list(cache.iterdir()) == [folder]


@needs_nncf
def test_int8_and_other_weights_have_a_graph_of_their_own(cache, monkeypatch):
    monkeypatch.setattr(openvino_convert, "_in_own_process", fake("graph"))
    base = spec("openvino")
    folders = {
        converted(base),
        converted(dataclasses.replace(base, precision="int8")),
        converted(dataclasses.replace(base, weights="0" * 64)),
    }
    assert len(folders) == 3
    assert sorted((folder / NETWORK).read_text() for folder in folders) == ["float"] * 2 + ["int8"]


def test_another_version_of_a_package_is_another_graph(cache, monkeypatch):
    monkeypatch.setattr(openvino_convert, "_in_own_process", fake("graph"))
    folder = converted(spec("openvino"))
    real = openvino_convert.metadata.version
    for changed in ("openvino", "torch", "transformers", "sentence-transformers"):
        monkeypatch.setattr(
            openvino_convert.metadata,
            "version",
            lambda name, changed=changed: "0" if name == changed else real(name),
        )
        assert converted(spec("openvino")) != folder


@pytest.mark.parametrize("left", [[], [NETWORK], [NETWORK, "network.bin", "head.xml"], [FACTS]])
def test_a_folder_that_was_written_half_is_replaced(cache, monkeypatch, left):
    monkeypatch.setattr(openvino_convert, "_in_own_process", fake("whole"))
    folder = converted(spec("openvino"))
    for file in folder.iterdir():
        file.unlink()
    for name in left:
        (folder / name).write_text("half")
    assert converted(spec("openvino")) == folder
    assert facts(folder) == "whole"
    assert (folder / NETWORK).read_text() == "float"
    assert list(cache.iterdir()) == [folder]


def test_of_two_that_convert_at_once_the_first_is_kept(cache, monkeypatch):
    turn, together = itertools.count(), threading.Barrier(2)

    def convert(model: str, folder: str, kind: str, target: Path) -> None:
        fake(f"by {next(turn)}")(model, folder, kind, target)
        together.wait(10)

    monkeypatch.setattr(openvino_convert, "_in_own_process", convert)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda _: converted(spec("openvino")), range(2)))
    assert found[0] == found[1]
    assert facts(found[0]) in ("by 0", "by 1")
    assert list(cache.iterdir()) == [found[0]]


def test_the_result_of_another_process_is_not_touched(cache, monkeypatch):
    monkeypatch.setattr(openvino_convert, "_in_own_process", fake("other"))
    folder = converted(spec("openvino"))
    kept = cache / "kept"
    folder.rename(kept)

    def slower(model: str, path: str, kind: str, target: Path) -> None:
        fake("mine")(model, path, kind, target)
        kept.rename(folder)

    monkeypatch.setattr(openvino_convert, "_in_own_process", slower)
    number = os.stat(kept / FACTS).st_ino
    assert facts(converted(spec("openvino"))) == "other"
    assert os.stat(folder / FACTS).st_ino == number


def test_a_conversion_that_fails_leaves_nothing_and_says_what_to_do(cache, monkeypatch):
    def run(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        (Path(command[-1]) / NETWORK).write_text("half")
        return subprocess.CompletedProcess(
            command, 1, "", "Traceback\n  …\nValueError: no such op\n"
        )

    monkeypatch.setattr(openvino_convert.subprocess, "run", run)
    with pytest.raises(InputError) as error:
        converted(spec("openvino"))
    assert str(error.value).splitlines() == [
        "embed.model: cannot convert 'all-MiniLM-L6-v2' to OpenVINO: ValueError: no such op",
        "use embed.backend: torch for it",
    ]
    assert list(cache.iterdir()) == []


def test_a_conversion_that_is_killed_is_an_error(cache, monkeypatch):
    killed = subprocess.CompletedProcess([], -9, "", "")
    monkeypatch.setattr(openvino_convert.subprocess, "run", lambda *a, **k: killed)
    with pytest.raises(InputError, match="cannot convert 'all-MiniLM-L6-v2' to OpenVINO: no mess"):
        converted(spec("openvino"))


def test_what_is_wrong_with_a_model_is_said_in_one_line(tmp_path, monkeypatch):
    (tmp_path / "config.json").write_text("{}")
    monkeypatch.setattr(sys, "argv", ["convert", str(tmp_path), "float", str(tmp_path)])
    with pytest.raises(SystemExit) as stop:
        openvino_convert.main()
    assert str(stop.value).startswith(f"embed.model: cannot load '{tmp_path}'")
    assert "\n" not in str(stop.value)
    assert not (tmp_path / FACTS).exists()


def test_a_graph_that_differs_from_the_model_is_noticed(openvino_fp32):
    from mixcurate.models.embedded import encoder_folder
    from mixcurate.models.torch_backend import load_model, text_tokenizer

    model = load_model(spec(), encoder_folder())
    network, head = (
        openvino_convert.quiet_openvino().Core().read_model(converted(openvino_fp32.spec) / name)
        for name in (NETWORK, openvino_convert.HEAD)
    )
    tokenizer = text_tokenizer(model, spec())
    openvino_convert._check(model, network, head, tokenizer)
    model[0].auto_model.encoder.layer[5].output.dense.weight.data *= 1.2
    with pytest.raises(InputError, match=r"the converted model differs: cosine 0\.9"):
        openvino_convert._check(model, network, head, tokenizer)
