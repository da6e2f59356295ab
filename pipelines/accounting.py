"""What ingest lost, judged: a guard against filters that eat too much, a word on idle steps."""

from __future__ import annotations

from mixcurate.errors import JobError
from mixcurate.io.workdir import Success
from mixcurate.kernels.cleaning import IngestParams

#: Below this many documents, a step that finds nothing is no news.
_FEW = 100


def check_drop(success: Success, max_drop: float | None) -> None:
    """Stop a job whose ingest drops more than it was allowed to.

    Raises:
        JobError: with every reason and its share.
    """
    dropped = sum(success.rejected.values())
    if max_drop is None or dropped <= max_drop * success.documents_in:
        return
    order = sorted(success.rejected.items(), key=lambda item: (-item[1], item[0]))
    shares = "\n".join(
        f"  {count / success.documents_in:7.2%}  {reason} ({count:,})" for reason, count in order
    )
    raise JobError(
        f"ingest dropped {dropped:,} of {success.documents_in:,} records "
        f"({dropped / success.documents_in:.2%}); ingest.max_drop allows {max_drop:.2%}:\n"
        f"{shares}\n"
        "What was dropped is in rejected/. Change the rule that eats too much, or allow more; "
        "what was read is kept where the change does not touch it."
    )


def fill_tokens(success: Success, n_bytes: int) -> dict[str, list[int]]:
    """Sizes by reason, with tokens estimated from bytes where a drop came before the count.

    Args:
        success: the stage; its tokens are of documents that stay.
        n_bytes: text of these documents.

    Returns:
        [bytes, tokens] by reason.
    """
    rate = success.tokens / n_bytes if n_bytes else 0.0
    return {
        reason: [size, tokens or round(size * rate)]
        for reason, (size, tokens) in success.rejected_sizes.items()
    }


def idle_steps(params: IngestParams, success: Success) -> list[str]:
    """Steps that the recipe asks for by name and that did nothing, as its keys.

    A filter that drops nothing is most often one that does not see what it was meant for.
    """
    if success.documents_in < _FEW:
        return []
    reasons, changed = set(success.rejected), success.details.get("changed", {})
    filtered = any(reason.startswith("filter_") for reason in reasons)
    asked = params.model_fields_set
    steps = {
        "languages": bool(params.languages) and "language" not in reasons,
        "filters": params.filters not in (None, "none") and not filtered,
        "thresholds": bool(params.thresholds) and not filtered,
        "repair": params.repair and not changed.get("repair"),
        "boilerplate": bool(params.boilerplate) and not changed.get("boilerplate"),
        "licences": bool(params.licences) and "licence" not in reasons,
        "pii": params.pii is not None and not changed.get("pii") and "pii" not in reasons,
        "decontaminate": params.decontaminate is not None
        and not changed.get("decontaminate")
        and "contaminated" not in reasons,
    }
    found = [step for step, idle in steps.items() if idle and step in asked]
    if params.dedup is not None and "dedup" in asked:
        kinds = {
            "exact": (params.dedup.exact, "exact_duplicate"),
            "url": (params.dedup.url, "duplicate_url"),
            "near": (params.dedup.near is not None, "near_duplicate"),
        }
        given = params.dedup.model_fields_set
        found += [
            f"dedup.{name}"
            for name, (wanted, reason) in kinds.items()
            if wanted and name in given and reason not in reasons
        ]
    return found
