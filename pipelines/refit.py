"""How the domains of an earlier fit map on those of the new one."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mixcurate.io import partfiles, storage
from mixcurate.io.workdir import Workdir
from mixcurate.kernels import domains, kmeans
from mixcurate.transforms.cluster_files import CLUSTER, fit_note_path
from mixcurate.transforms.sample import read_sample
from pipelines.decision import decision_path
from pipelines.job import Job

#: Shares of an old domain below this are left out of the table.
_LEAST_SHARE = 0.005

#: Documents of the sample that are looked up in both.
_MAPPED = 200_000

#: An old domain of which so much is in one new domain counts as having stayed together.
_TOGETHER = 0.8

#: Vectors of a model, told apart by what the model is rather than by how it was run.
_MODEL = ("model", "revision", "weights_sha256", "dimension")

MAP = pa.schema(
    [
        pa.field("old_domain", pa.int32(), nullable=False),
        pa.field("old_id", pa.string(), nullable=False),
        pa.field("old_name", pa.string(), nullable=False),
        pa.field("new_domain", pa.int32(), nullable=False),
        pa.field("new_id", pa.string(), nullable=False),
        pa.field("new_name", pa.string(), nullable=False),
        pa.field("share", pa.float64(), nullable=False),  # of the old domain's sampled documents
    ]
)


def same_model(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two encoders make vectors that can be compared."""
    return all(one.get(key) == other.get(key) for key in _MODEL)


def _files(workdir: Workdir) -> dict[str, str]:
    """What a fit is known by."""
    return {
        "centroids.npy": workdir.centroids,
        "fit.json": fit_note_path(workdir),
        "decision.json": decision_path(workdir),
    }


def _previous(workdir: Workdir, name: str) -> str:
    return workdir.path("_stages", CLUSTER, "previous", name)


def keep_previous(workdir: Workdir) -> None:
    """Set a fit that is about to be replaced aside."""
    if all(storage.exists(path) for path in _files(workdir).values()):
        for name, path in _files(workdir).items():
            storage.write_bytes(_previous(workdir, name), storage.read_bytes(path))


def report_map(job: Job) -> None:
    """Write ``domain_map.parquet`` if there was an earlier fit, and say how much has moved.

    The documents of the fit's sample are assigned to both: a share is that of an old domain's
    sampled documents which are in a new one now.
    """
    workdir = job.workdir
    path = workdir.path("domain_map.parquet")
    storage.remove(path)
    paths = [{name: _previous(workdir, name) for name in _files(workdir)}, _files(workdir)]
    if not storage.exists(paths[0]["fit.json"]):
        return
    old, new = (storage.read_json(each["fit.json"]) for each in paths)
    if not same_model(old["encoder"], new["encoder"]):
        job.reporter.say(
            "cluster: the domains before were made of other vectors; they cannot be mapped on these"
        )
        return
    metrics = (old["metric"], new["metric"])
    old, new = (storage.read_json(each["decision.json"]) for each in paths)
    if old["ids"] == new["ids"]:
        return
    sample = read_sample(workdir, _MAPPED)
    labels = [
        _labels(sample, each["centroids.npy"], decided["domain"], metric)
        for each, decided, metric in zip(paths, (old, new), metrics, strict=True)
    ]
    shares = domains.domain_map(*labels, n_old=len(old["ids"]), n_new=len(new["ids"]))
    pairs = np.argwhere(shares >= _LEAST_SHARE).tolist()
    rows = [
        {
            "old_domain": a,
            "old_id": old["ids"][a],
            "old_name": old["names"][a],
            "new_domain": b,
            "new_id": new["ids"][b],
            "new_name": new["names"][b],
            "share": float(shares[a, b]),
        }
        for a, b in sorted(pairs, key=lambda pair: (pair[0], -shares[pair[0], pair[1]]))
    ]
    partfiles.write_table(path, pa.Table.from_pylist(rows, schema=MAP))
    together = int((shares.max(axis=1, initial=0) >= _TOGETHER).sum())
    unchanged = len(set(old["ids"]) & set(new["ids"]))
    job.reporter.say(
        f"cluster: of {len(old['ids'])} domains before, {unchanged} are unchanged and {together} "
        f"go to one new domain by {_TOGETHER:.0%} or more; domain_map.parquet has the shares"
    )


def _labels(
    sample: npt.NDArray[np.float32], centroids: str, domain: list[int], metric: kmeans.Metric
) -> npt.NDArray[np.int32]:
    """Domain of each vector of the sample, -1 where its cluster is pruned."""
    cluster, _ = kmeans.assign(sample, partfiles.read_array(centroids), metric=metric)
    labels: npt.NDArray[np.int32] = np.array(domain, np.int32)[cluster]
    return labels
