"""Which ids of a tokenizer begin and end a sequence.

``tokenizer.json`` does not say it. ``tokenizer_config.json`` beside it does, where it is there;
otherwise one of the names that tokenizers usually give these tokens must be among the added ones.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from typing import Any, Literal

from mixcurate.errors import InputError

Kind = Literal["bos", "eos"]

#: In the order in which they are looked for. ``<|endoftext|>`` serves as both in GPT-2's family.
_NAMES: dict[Kind, tuple[str, ...]] = {
    "bos": (
        "<s>",
        "<|begin_of_text|>",
        "<bos>",
        "[BOS]",
        "<|startoftext|>",
        "<|endoftext|>",
    ),
    "eos": ("</s>", "<|end_of_text|>", "<eos>", "[EOS]", "<|endoftext|>"),
}

_CONFIG = "tokenizer_config.json"


@dataclasses.dataclass(frozen=True)
class SpecialIds:
    """Ids of the special tokens of one tokenizer.

    Attributes:
        where: the file that they come from, for messages.
        bos: beginning of a sequence, or None where the tokenizer has no such token.
        eos: end of a sequence, or None.
    """

    where: str
    bos: int | None
    eos: int | None

    def require(self, kind: Kind) -> int:
        """The id, which a recipe asks for.

        Raises:
            InputError: the tokenizer has no such token.
        """
        found = self.bos if kind == "bos" else self.eos
        if found is None:
            raise InputError(
                f"output.tokens.{kind}: {self.where} has no such token: none is called "
                f"{', '.join(_NAMES[kind])}, and no {_CONFIG} beside it names one. Put one there "
                f'with {{"{kind}_token": "..."}}, or set output.tokens.{kind} to false'
            )
        return found


def special_ids(path: str, added: Mapping[str, int], ids: Mapping[str, int]) -> SpecialIds:
    """Find them for a ``tokenizer.json``.

    Args:
        path: the file.
        added: ids of its added tokens by their text.
        ids: ids of all of its tokens, for what ``tokenizer_config.json`` names.

    Raises:
        InputError: ``tokenizer_config.json`` cannot be read.
    """
    config = _read_config(os.path.join(os.path.dirname(path), _CONFIG))
    return SpecialIds(path, _find("bos", config, added, ids), _find("eos", config, added, ids))


def _read_config(path: str) -> dict[str, Any]:
    if not os.path.isfile(path):
        return {}
    try:
        with open(path, encoding="utf-8") as stream:
            config = json.load(stream)
    except ValueError as error:
        raise InputError(f"cannot read {path}: {error}; mend it or take it away") from error
    return config if isinstance(config, dict) else {}


def _find(
    kind: Kind, config: dict[str, Any], added: Mapping[str, int], ids: Mapping[str, int]
) -> int | None:
    """A config that has the key decides, even if it says that there is none."""
    if f"{kind}_token" in config:
        token = config[f"{kind}_token"]
        name = token.get("content") if isinstance(token, dict) else token
        return ids.get(name) if isinstance(name, str) else None
    return next((added[name] for name in _NAMES[kind] if name in added), None)
