"""Prune clusters, merge them into domains, and name those: what is decided in one place.

It reads what the parts have added up, a bounded sample of vectors and a bounded sample of texts.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mixcurate.errors import JobError, RequestError
from mixcurate.io import partfiles, storage
from mixcurate.io.names_file import NamesFile, apply_names
from mixcurate.io.workdir import Workdir
from mixcurate.kernels import domains, hashing, topics
from mixcurate.kernels.clustering import ClusterParams
from mixcurate.transforms.cluster import assigned_path
from mixcurate.transforms.cluster_files import groups_path
from pipelines.cluster_tables import Clusters
from pipelines.decision import Decision
from pipelines.naming import Namer, TopicSample, name_domains

Int32Array = npt.NDArray[np.int32]

#: Parts that are read for naming domains; each brings its share of the sample.
_TOPIC_PARTS = 64

#: A cluster that holds more of the documents than this is worth a warning.
_CATCH_ALL = 0.5


def decide(
    workdir: Workdir,
    clusters: Clusters,
    params: ClusterParams,
    parts: list[str],
    *,
    seed: int,
    names_file: NamesFile | None,
    namer: Namer | None,
) -> Decision:
    """Prune, merge and name.

    Raises:
        JobError: every cluster is pruned.
        RequestError: the file of names does not fit.
    """
    count = clusters.numbers["n_documents"]
    tokens = clusters.numbers["n_tokens"]
    pruned = domains.prune(count, clusters.mean_quality, clusters.dimensions, params.prune)
    reasons = [reason for reason, _ in pruned]
    details: list[str | None] = [detail or None for _, detail in pruned]
    kept = np.array([reason is None for reason in reasons])
    if not kept.any():
        raise JobError(_all_pruned(clusters, params))
    if storage.exists(groups_path(workdir)):  # by the graph of the sample: found with the fit
        groups = partfiles.read_array(groups_path(workdir))
        domain, _ = regroup(np.where(kept, groups, -1), np.arange(groups.max() + 1), tokens)
    else:
        domain = domains.merge(clusters.centroids, kept, tokens, params.merge, seed=seed)
    notes = _catch_all(count)
    sample = sample_texts(workdir, domain, params, parts, seed)
    words = topics.keywords(
        sample.texts, sample.languages, sample.domains, int(domain.max()) + 1,
        params.topics.keywords,
    )  # fmt: skip
    naming = name_domains(sample, words, params.topics, namer)
    notes += naming.notes
    domain, keep = regroup(domain, np.array(naming.groups, np.int32), tokens)
    names = [naming.names[i] for i in keep]
    words = [words[i] for i in keep]
    ids = [domains.domain_id(clusters.centroids[domain == n]) for n in range(len(names))]
    automatic = [
        {
            "id": ids[n],
            "name": names[n],
            "keywords": words[n],
            "n_documents": int(count[domain == n].sum()),
            "n_tokens": int(tokens[domain == n].sum()),
        }
        for n in range(len(names))
    ]
    if names_file is not None:
        applied = apply_names(names_file, ids, names)
        for number, entry in enumerate(automatic):
            entry |= {"name": applied.names[number], "drop": bool(applied.dropped[number])}
        for number in np.flatnonzero(applied.dropped).tolist():
            for cluster in np.flatnonzero(domain == number).tolist():
                reasons[cluster] = "dropped_domain"
                details[cluster] = f"domain {applied.names[number]!r} is dropped by the names file"
        domain = np.where(np.isin(domain, np.flatnonzero(applied.dropped)), -1, domain)
        if (domain < 0).all():
            raise RequestError(f"{names_file.path} drops every domain; keep one at least")
        domain, keep = regroup(domain.astype(np.int32), np.array(applied.groups, np.int32), tokens)
        names = [applied.names[i] for i in keep]
        words = [words[i] for i in keep]
        ids = [domains.domain_id(clusters.centroids[domain == n]) for n in range(len(names))]
    return Decision(reasons, details, domain, topics.unique(names), words, ids, automatic, notes)


def regroup(
    domain: Int32Array, groups: Int32Array, n_tokens: npt.NDArray[np.int64]
) -> tuple[Int32Array, list[int]]:
    """Merge domains of one group, and number what comes out by its tokens, the largest first.

    Args:
        domain: int32 ``[k]``, -1 where a cluster has none.
        groups: int32 ``[domains]``.
        n_tokens: int64 ``[k]``.

    Returns:
        The new domain of each cluster, and for each new domain the largest old one in it.
    """
    used = np.unique(domain[domain >= 0])
    old_tokens = np.zeros(len(groups), np.int64)
    np.add.at(old_tokens, domain[domain >= 0], n_tokens[domain >= 0])
    labels, group = np.unique(groups[used], return_inverse=True)
    totals = np.zeros(len(labels), np.int64)
    np.add.at(totals, group, old_tokens[used])
    order = np.argsort(-totals, kind="stable")
    rank = np.empty(len(labels), np.int32)
    rank[order] = np.arange(len(labels))
    new_of = np.full(len(groups), -1, np.int32)
    new_of[used] = rank[group]
    largest = [
        int(used[group == label][np.argmax(old_tokens[used[group == label]])]) for label in order
    ]
    return np.where(domain >= 0, new_of[domain], -1).astype(np.int32), largest


def _all_pruned(clusters: Clusters, params: ClusterParams) -> str:
    asked = params.prune.asked if params.prune else {}
    held = clusters.numbers["n_documents"] > 0
    best = [f"mean quality {np.nanmax(clusters.mean_quality[held]):.3f}"]
    best += [f"{name} {np.nanmax(clusters.dimensions[name][held]):.3f}" for name in asked]
    return (
        f"every cluster was pruned: the best of them have {', '.join(best)}; lower "
        f"cluster.prune.min_quality or thresholds, or set prune: null"
    )


def _catch_all(count: npt.NDArray[np.int64]) -> list[str]:
    share = count.max() / max(int(count.sum()), 1)
    if share <= _CATCH_ALL or len(count) < 3:
        return []
    return [
        f"warning: cluster {int(count.argmax())} holds {share:.0%} of the documents; "
        f"set cluster.balance to divide it, or look for boilerplate in its documents"
    ]


def sample_texts(
    workdir: Workdir, domain_of: Int32Array, params: ClusterParams, parts: list[str], seed: int
) -> TopicSample:
    """Beginnings of documents for naming: as many of each domain as far as there are."""
    order = sorted(parts, key=lambda part: hashing.fingerprint(str(seed), part))[:_TOPIC_PARTS]
    n_domains = max(int(domain_of.max()) + 1, 1)
    quota = -(-params.topics.sample_documents // (len(order) * n_domains))
    texts: list[str] = []
    languages: list[str] = []
    labels = [np.zeros(0, np.int32)]
    for part in sorted(order):
        cluster = partfiles.read_table(assigned_path(workdir, part), ["cluster"])
        number = cluster.column("cluster").to_numpy()
        label = np.where(number >= 0, domain_of[number], -1).astype(np.int32)
        path = workdir.part("ingest", part)
        ids = partfiles.read_table(path, ["id"]).column("id").combine_chunks()
        by_hash = np.argsort(hashing.uniform_keys(ids, seed, "topics"), kind="stable")
        picked = [by_hash[label[by_hash] == n][:quota] for n in range(n_domains)]
        rows = np.sort(np.concatenate(picked))
        table = partfiles.read_table(path, ["text", "language"]).take(pa.array(rows))
        texts += [text[: topics.READ_CHARACTERS] for text in table.column("text").to_pylist()]
        languages += table.column("language").to_pylist()
        labels.append(label[rows])
    return TopicSample(texts, languages, np.concatenate(labels))
