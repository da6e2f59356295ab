from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import AddedToken, Tokenizer, models

from mixcurate.errors import InputError
from mixcurate.io.corpus import TokenParams
from mixcurate.kernels.packing import pack
from mixcurate.models.tokenizer import TekkenTokenizer
from mixcurate.transforms.tokens import token_options


@pytest.fixture
def words(tmp_path: Path) -> str:
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "one": 1}, unk_token="[UNK]"))
    tokenizer.add_special_tokens([AddedToken("</s>", special=True)])
    path = tmp_path / "tokenizer.json"
    tokenizer.save(str(path))
    return str(path)


def test_the_recipe_s_tokenizer_is_taken_unless_the_tokens_have_their_own(words: str) -> None:
    embedded = token_options(TokenParams(sequence_length=9), "embedded", 1)
    assert (embedded.name, embedded.vocabulary) == ("mistral_common/tekken_240911", 131_072)
    assert (embedded.bos, embedded.eos, embedded.sequence_length) == (None, 2, 9)
    assert embedded.pack is pack
    own = token_options(TokenParams(tokenizer=words), "embedded", 1)
    assert (own.name, own.vocabulary, own.eos) == ("tokenizer.json", 3, 2)
    assert own.encode(["one"])[0].tolist() == [1]
    again = token_options(TokenParams(), words, 1, "models/tokenizer.json")
    assert (again.name, again.vocabulary) == ("models/tokenizer.json", 3)


def test_a_special_token_that_is_missing_or_a_file_that_is_none(words: str) -> None:
    with pytest.raises(InputError, match=r"output\.tokens\.bos: .*tokenizer\.json has no such"):
        token_options(TokenParams(tokenizer=words, bos=True), "embedded", 1)
    assert token_options(TokenParams(bos=True), "embedded", 1).bos == 1
    with pytest.raises(InputError, match=r"output\.tokens\.tokenizer: no file nowhere"):
        token_options(TokenParams(tokenizer="nowhere"), "embedded", 1)
    with pytest.raises(InputError, match=r"ingest\.tokenizer: no file nowhere"):
        token_options(TokenParams(), "nowhere", 1)


def test_several_formats_encode_a_batch_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    plain = TekkenTokenizer.encode

    def counted(self: TekkenTokenizer, texts: list[str]) -> object:
        calls.append(texts)
        return plain(self, texts)

    monkeypatch.setattr(TekkenTokenizer, "encode", counted)
    options = token_options(TokenParams(), "embedded", 1)
    first = options.encode(["one", "two"])
    assert options.encode(["one", "two"]) is first
    second = options.encode(["one", "three"])
    assert [ids.tolist() for ids in second] == [
        ids.tolist() for ids in TekkenTokenizer(1).encode(["one", "three"])
    ]
    assert calls[:2] == [["one", "two"], ["one", "three"]]
