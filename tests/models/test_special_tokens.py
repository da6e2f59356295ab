from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenizers import AddedToken, Tokenizer, models

from mixcurate.errors import InputError, RequestError
from mixcurate.models.special_tokens import SpecialIds
from mixcurate.models.tokenizer import token_counter


def save(folder: Path, *special: str) -> str:
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "<plain>": 1}, unk_token="[UNK]"))
    tokenizer.add_special_tokens([AddedToken(name, special=True) for name in special])
    path = folder / "tokenizer.json"
    tokenizer.save(str(path))
    return str(path)


def found(path: str) -> tuple[int | None, int | None]:
    special = token_counter(path, 1).special
    return special.bos, special.eos


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("<s>", "</s>"), (2, 3)),
        (("</s>", "<s>"), (3, 2)),
        (("<|begin_of_text|>", "<|end_of_text|>"), (2, 3)),
        (("<bos>", "<eos>"), (2, 3)),
        (("[BOS]", "[EOS]"), (2, 3)),
        (("<|endoftext|>",), (2, 2)),
        (("<|endoftext|>", "</s>"), (2, 3)),
        (("[CLS]",), (None, None)),
        ((), (None, None)),
    ],
)
def test_usual_names_are_known(tmp_path, names, expected):
    assert found(save(tmp_path, *names)) == expected


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"bos_token": "[CLS]", "eos_token": "[SEP]"}, (4, 5)),
        ({"bos_token": {"content": "[CLS]", "special": True}}, (4, 3)),
        ({"bos_token": None, "eos_token": "<plain>"}, (None, 1)),
        ({"eos_token": "<not there>"}, (2, None)),
        ({"eos_token": 7}, (2, None)),
        ({}, (2, 3)),
        ([], (2, 3)),
    ],
)
def test_the_config_beside_the_file_decides(tmp_path, config, expected):
    path = save(tmp_path, "<s>", "</s>", "[CLS]", "[SEP]")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    assert found(path) == expected


def test_a_config_that_is_no_json_is_refused(tmp_path):
    path = save(tmp_path, "<s>")
    (tmp_path / "tokenizer_config.json").write_text("{")
    with pytest.raises(InputError, match=r"cannot read .*tokenizer_config\.json"):
        _ = token_counter(path, 1).special


def test_a_token_that_is_missing_is_told_with_its_file_and_the_fix():
    ids = SpecialIds("/models/tokenizer.json", bos=None, eos=9)
    assert ids.require("eos") == 9
    with pytest.raises(RequestError) as caught:
        ids.require("bos")
    message = str(caught.value)
    assert message.startswith("output.tokens.bos: /models/tokenizer.json has no such token")
    assert '{"bos_token": "..."}' in message
    assert message.endswith("set output.tokens.bos to false")
