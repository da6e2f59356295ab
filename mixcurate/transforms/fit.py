"""Fit: k-means centroids on the sample of the corpus, and groups of them where asked for."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt

from mixcurate.errors import JobError
from mixcurate.io import partfiles, storage
from mixcurate.io.workdir import Workdir
from mixcurate.kernels import grouping, kmeans
from mixcurate.kernels.choose_k import choose_k
from mixcurate.kernels.clustering import ClusterParams
from mixcurate.transforms.cluster_files import fit_note_path, grouping_path, groups_path
from mixcurate.transforms.sample import gather_sample


@dataclasses.dataclass(frozen=True)
class FitPlan:
    """How centroids are found.

    Attributes:
        k: number of clusters; None chooses it by silhouette.
        documents: of the corpus.
        share: of the documents that are sampled.
        mark: fingerprint of the fit.
        frozen: whether the centroids on disk are those of an earlier run, and stay.
        encoder: what made the vectors.
    """

    params: ClusterParams
    k: int | None
    documents: int
    share: float
    seed: int
    mark: str
    frozen: bool
    encoder: dict[str, Any]


class FitCentroids(beam.DoFn):
    """Train k-means on the sample, rows in the order of their hash; write the centroids."""

    def __init__(self, workdir: Workdir, plan: FitPlan) -> None:
        self._workdir, self._plan = workdir, plan

    def process(self, element: tuple[int, Iterable[str]]) -> Iterator[str]:
        """Yield the digest of the centroids."""
        note = fit_note_path(self._workdir)
        storage.remove(note)  # centroids without a note belong to an interrupted fit
        sample = gather_sample(self._workdir, element[1])
        if len(sample) == 0:
            raise JobError(
                "no document has a vector that can be clustered: all are zero or not finite; "
                "embed.precision: fp32 may help"
            )
        plan, path = self._plan, self._workdir.centroids
        if plan.params.metric == "cosine":
            normalise_rows(sample)
        about: dict[str, Any] = {
            "fingerprint": plan.mark,
            "metric": plan.params.metric,
            "documents": plan.documents,
            "sample": len(sample),
            "encoder": plan.encoder,
            "notes": [],
            "silhouette": [],
        }
        if not plan.frozen:
            about |= self._fit(sample)
        centroids = partfiles.read_array(path)
        about["grouped"] = storage.exists(groups_path(self._workdir))
        about |= {"k": len(centroids), "unit": _unit(sample, centroids, plan.params.metric)}
        storage.write_json(note, about)
        yield storage.digest(path)

    def _fit(self, sample: npt.NDArray[np.float32]) -> dict[str, Any]:
        """Write the centroids, and their groups; how it went."""
        plan, params = self._plan, self._plan.params
        about: dict[str, Any] = {}
        k = plan.k
        if k is None:
            choice = choose_k(
                sample,
                params.silhouette,
                documents=plan.documents,
                seed=plan.seed,
                metric=params.metric,
            )
            k, about["silhouette"] = choice.k, choice.silhouettes
        found = kmeans.fit(
            sample,
            k=min(k, len(sample)),
            seed=plan.seed,
            iterations=params.iterations,
            metric=params.metric,
            levels=params.levels,
            resample=params.resample,
            balance=params.balance,
        )
        partfiles.write_array(self._workdir.centroids, found.centroids)
        self._group(sample, found.centroids)
        return about | {"inertia": found.inertia, "notes": found.notes}

    def _group(self, sample: npt.NDArray[np.float32], centroids: npt.NDArray[np.float32]) -> None:
        """Group the clusters by the graph of the sample, if that is asked for."""
        for path in (groups_path(self._workdir), grouping_path(self._workdir)):
            storage.remove(path)
        merge, metric = self._plan.params.merge, self._plan.params.metric
        if merge is None or merge.domains is None or merge.linkage != "spectral":
            return
        found = grouping.find_groups(sample, merge.domains, self._plan.seed)
        cluster = kmeans.assign(sample, centroids, metric=metric).cluster
        groups = grouping.groups_of_clusters(found, sample, cluster, centroids)
        partfiles.write_array(groups_path(self._workdir), groups)
        partfiles.write_array(grouping_path(self._workdir), found)


def normalise_rows(sample: npt.NDArray[np.float32]) -> None:
    """Make the rows unit vectors in their place: the sample is held once."""
    for start in range(0, len(sample), 4_096):
        sample[start : start + 4_096] = kmeans.normalise(sample[start : start + 4_096])


def _unit(
    sample: npt.NDArray[np.float32], centroids: npt.NDArray[np.float32], metric: kmeans.Metric
) -> float:
    """A power of two near the largest distance, so that exact sums of distances cannot overflow."""
    if metric == "cosine":
        return 2.0
    largest = kmeans.assign(sample[:10_000], centroids, metric=metric)[1].max(initial=1e-6)
    return float(2.0 ** np.ceil(np.log2(max(float(largest), 1e-6))))
