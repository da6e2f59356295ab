"""The classifier of domains that ``mixcurate label`` uses, fitted on the sample of k-means."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mixcurate.io import partfiles, storage
from mixcurate.io.classifier_file import ClassifierFile, write_classifier_file
from mixcurate.io.workdir import Workdir
from mixcurate.kernels.classifier import fit_classifier
from mixcurate.transforms.sample import rows_path, vectors_path
from pipelines.job import Job
from pipelines.label import classifier_path


def write_classifier(job: Job, encoder: dict[str, Any]) -> None:
    """Fit and write the classifier if it is asked for, and say how good it is.

    Args:
        job: whose documents have been labelled.
        encoder: what made their vectors.
    """
    workdir = job.workdir
    path = classifier_path(workdir)
    storage.remove(path)
    if not job.recipe.cluster.topics.classifier:
        return
    vectors, domains = partfiles.read_array(vectors_path(workdir)), sample_domains(workdir)
    if not (domains >= 0).any():
        job.reporter.say("cluster: no classifier: no document of the sample has a domain")
        return
    found = fit_classifier(vectors, domains, job.recipe.seed)
    table = partfiles.read_table(workdir.path("domains.parquet"), ["domain_id", "name"])
    ids, names = (table.column(name).to_pylist() for name in ("domain_id", "name"))
    write_classifier_file(
        path,
        ClassifierFile(
            weight=found.weight,
            bias=found.bias,
            domains=found.domains,
            domain_ids=tuple(ids[n] for n in found.domains.tolist()),
            names=tuple(names[n] for n in found.domains.tolist()),
            encoder=encoder,
            accuracy=found.accuracy,
            macro_f1=found.macro_f1,
            n_train=found.n_train,
            n_held_out=found.n_held_out,
        ),
    )
    job.reporter.say(
        f"cluster: the classifier gives {found.accuracy:.1%} of held-out documents their domain "
        f"(macro F1 {found.macro_f1:.3f}, {len(found.domains)} domains)"
    )


def sample_domains(workdir: Workdir) -> npt.NDArray[np.int32]:
    """Domain of each document of the sample, in its order: int32 ``[m]``, -1 for none."""
    rows = partfiles.read_table(rows_path(workdir), ["part", "row"])
    part, row = rows.column("part").to_numpy(), rows.column("row").to_numpy()
    domains = np.full(len(row), -1, np.int32)
    order = np.argsort(part, kind="stable")
    names, starts = np.unique(part[order], return_index=True)
    for name, mine in zip(names.tolist(), np.split(order, starts[1:]), strict=False):
        assigned = partfiles.read_table(workdir.part("cluster", name), ["domain"])
        domains[mine] = assigned.column("domain").to_numpy()[row[mine]]
    return domains
