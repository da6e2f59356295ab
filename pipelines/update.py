"""A new crawl onto the clusters of an earlier run: nothing is fitted, and drift is reported.

Domains keep their ids, so that what is known of earlier mixtures stays attached to them.
"""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import numpy as np
import pyarrow as pa

from mixcurate.errors import RequestError
from mixcurate.io import partfiles, storage
from mixcurate.io.workdir import Workdir
from mixcurate.kernels import cluster_statistics, drift, kmeans, refit
from mixcurate.kernels.hashing import fingerprint
from mixcurate.transforms.cluster_files import (
    CLUSTER,
    counts_path,
    fit_note_path,
    grouping_path,
    groups_path,
)
from pipelines.cluster_tables import Clusters
from pipelines.decision import Decision, decision_path, read_decision
from pipelines.job import Job, resolve
from pipelines.refit import same_model


@dataclasses.dataclass(frozen=True)
class Frozen:
    """Clusters and domains of an earlier run that stay as they are.

    Attributes:
        root: its workdir.
        note: how its centroids were fitted.
        decided: which of its clusters were kept, and its domains.
        bounds: of quality between its tiers.
        counts: its languages, sources and distances per cluster.
        digest: names all of it.
    """

    root: str
    note: dict[str, Any]
    decided: Decision
    bounds: tuple[float, ...]
    counts: pa.Table
    digest: str

    def require_encoder(self, encoder: dict[str, Any]) -> None:
        """Check that vectors are of the model that the clusters were fitted on.

        Raises:
            RequestError: they are not.
        """
        if not same_model(self.note["encoder"], encoder):
            theirs, ours = (
                f"{e['model']} ({e['dimension']} numbers, weights {str(e['weights_sha256'])[:12]})"
                for e in (self.note["encoder"], encoder)
            )
            raise RequestError(
                f"cluster.onto: the clusters of {self.root} are of vectors of {theirs}, but this "
                f"run embeds with {ours}; embed with the same model, or fit anew (onto: null)"
            )

    def write_centroids(self, workdir: Workdir) -> None:
        """Take the centroids over, and their groups if they have any."""
        old = Workdir(self.root)
        partfiles.write_array(workdir.centroids, partfiles.read_array(old.centroids))
        for path in (groups_path, grouping_path):
            storage.remove(path(workdir))
            if storage.exists(path(old)):
                partfiles.write_array(path(workdir), partfiles.read_array(path(old)))

    def decision(self, clusters: Clusters) -> Decision:
        """What became of each cluster; one that had no documents goes with its nearest neighbour.

        Args:
            clusters: as the new documents measure them.
        """
        old = self.decided
        domain, reasons, details = old.domain.copy(), list(old.reasons), list(old.details)
        empty = np.flatnonzero([reason == "empty" for reason in reasons])
        kept = np.flatnonzero(domain >= 0)
        if len(empty):
            near, _ = kmeans.assign(
                clusters.centroids[empty], clusters.centroids[kept], metric=self.note["metric"]
            )
            domain[empty] = domain[kept[near]]
            for cluster in empty.tolist():
                reasons[cluster] = details[cluster] = None
        return dataclasses.replace(old, domain=domain, reasons=reasons, details=details, notes=[])


def read_frozen(job: Job) -> Frozen:
    """The clusters that `cluster.onto` names.

    Raises:
        RequestError: there are none, or they are this job's own.
    """
    root = resolve(job.base, job.recipe.cluster.onto or "")
    root = os.path.abspath(root) if storage.is_local(root) else root
    workdir = Workdir(root)
    if root == job.workdir.root:
        raise RequestError(
            f"cluster.onto names this job's own workdir, {root}; give the new crawl a workdir of "
            f"its own (--set workdir=...)"
        )
    if workdir.success(CLUSTER) is None:
        raise RequestError(
            f"cluster.onto: {root} has no finished cluster stage; run it first: "
            f"mixcurate cluster RECIPE"
        )
    if not storage.exists(decision_path(workdir)):
        raise RequestError(
            f"cluster.onto: {root} was clustered by an older version, which did not keep what it "
            f"decided; run it again: mixcurate cluster RECIPE"
        )
    decided, bounds = read_decision(workdir)
    counts = counts_path(workdir)
    files = [workdir.centroids, counts, decision_path(workdir), grouping_path(workdir)]
    return Frozen(
        root=root,
        note=storage.read_json(fit_note_path(workdir)),
        decided=decided,
        bounds=bounds,
        counts=partfiles.read_table(counts),
        digest=fingerprint(*(storage.digest(file) for file in files if storage.exists(file))),
    )


def report_drift(job: Job, frozen: Frozen, clusters: Clusters, decision: Decision) -> None:
    """Write ``drift.json``, and say whether a refit is due."""
    measured = drift.compare(
        cluster_statistics.domain_distances(frozen.counts, decision.domain),
        cluster_statistics.domain_distances(clusters.counts, decision.domain),
        len(decision.names),
    )
    verdict = refit.judge(measured, job.recipe.cluster.drift, decision.names)
    new, fitted = (np.maximum(n.sum(), 1) for n in (measured.new, measured.fitted))
    documents = int(measured.new.sum())
    far = float(measured.far.sum() / new)
    storage.write_json(
        job.workdir.path("drift.json"),
        {
            "against": frozen.root,
            "documents": documents,
            "share_beyond_p99": far,
            "expected_beyond_p99": measured.expected_share,
            "divergence": measured.distances.bits,
            "refit": verdict.refit,
            "reasons": verdict.reasons,
            "notes": verdict.notes,
            "domains": [
                {
                    "domain_id": decision.ids[n],
                    "name": decision.names[n],
                    "documents": int(measured.new[n]),
                    "share": float(measured.new[n] / new),
                    "share_before": float(measured.fitted[n] / fitted),
                    "beyond_p99": float(measured.far[n] / max(measured.new[n], 1)),
                }
                for n in range(len(decision.names))
            ],
        },
    )
    say = job.reporter.say
    say(
        f"cluster: {documents:,} documents on the domains of {frozen.root}: {far:.2%} lie beyond "
        f"the 99th percentile of their domain ({measured.expected_share:.2%} expected), "
        f"divergence {measured.distances.bits:.3f} bits"
    )
    for reason in verdict.reasons:
        say(f"cluster: a refit is due: {reason}")
    for text in verdict.notes:
        say(f"cluster: {text}")
    if not verdict.refit:
        say("cluster: no refit is due")
