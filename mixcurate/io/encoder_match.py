"""Whether vectors are of the model that a file was made for."""

from __future__ import annotations

from typing import Any

from mixcurate.errors import InputError

#: What vectors depend on. Backend and precision are left out: they change the last digits only.
MODEL = ("weights_sha256", "max_tokens", "long_documents", "dimension")


def require_same_encoder(
    path: str, theirs: dict[str, Any], ours: dict[str, Any], again: str
) -> None:
    """Check that a file is for vectors of our encoder.

    Args:
        path: of the file, for the message.
        theirs: the encoder that the file was made for, as the manifest has it.
        ours: what makes the vectors now, as the manifest has it.
        again: how to make such a file for our vectors, for the message.

    Raises:
        InputError: it is not; with what differs.
    """
    wrong = [name for name in MODEL if theirs.get(name) != ours.get(name)]
    if wrong:
        pairs = "; ".join(
            f"{name} {str(theirs.get(name))[:16]} there, {str(ours.get(name))[:16]} here"
            for name in wrong
        )
        raise InputError(
            f"{path} is for vectors of {theirs.get('model')}, not of {ours.get('model')} "
            f"({pairs}); embed with the same model, or {again}"
        )
