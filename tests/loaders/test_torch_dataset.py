"""Batches, resume and weights through torch's loaders, with and without worker processes."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader

from mixcurate.errors import InputError
from mixcurate.loaders import CorpusReader, merge_states
from mixcurate.loaders.torch_dataset import CorpusDataset
from tests.loaders.made import Made, keys

SIZE = 4
WORKERS = [0, 2]


def dataset_of(made: Made, **options: Any) -> CorpusDataset:
    return CorpusDataset(CorpusReader(made.path, **options), batch_size=SIZE)


def loader_of(dataset: CorpusDataset, workers: int, kind: Any = DataLoader, **more: Any) -> Any:
    """A loader of lists of documents."""
    return kind(dataset, batch_size=SIZE, num_workers=workers, collate_fn=list, **more)


def batches(loader: Any, count: int | None = None) -> list[list[str]]:
    return [keys(batch) for batch in itertools.islice(loader, count)]


def flat(parts: list[list[str]]) -> list[str]:
    return list(itertools.chain.from_iterable(parts))


def expected(made: Made, **options: Any) -> Iterator[list[str]]:
    """The batches that one process makes of a reader."""
    reader = iter(CorpusReader(made.path, **options))
    while batch := keys(itertools.islice(reader, SIZE)):
        yield batch


@pytest.mark.parametrize("workers", [0, 1, 2, 3])
def test_batches_are_the_same_for_any_number_of_workers(made, workers):
    options = {"rank": 1, "world_size": 2, "shuffle_buffer": 9}
    loader = loader_of(dataset_of(made, **options), workers)
    assert batches(loader) == list(expected(made, **options))


@pytest.mark.parametrize("workers", WORKERS)
def test_epochs(made, workers):
    dataset = dataset_of(made, shuffle_buffer=9)
    loader = loader_of(dataset, workers)
    reader = CorpusReader(made.path, shuffle_buffer=9)
    for epoch in (0, 1, 2):
        dataset.set_epoch(epoch)
        assert flat(batches(loader)) == keys(reader)


def test_workers_that_stay_hear_of_epochs(made):
    dataset = dataset_of(made)
    loader = loader_of(dataset, 2, persistent_workers=True)
    reader = CorpusReader(made.path)
    for epoch in (0, 1):
        dataset.set_epoch(epoch)
        assert flat(batches(loader)) == keys(reader)


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("count", [0, 3, 7])
def test_a_stateful_loader_resumes_exactly(made, workers, count):
    options = {"repeat": True, "weights": {"law": 2.0}, "shuffle_buffer": 5}
    wanted = list(itertools.islice(expected(made, **options), count + 12))
    before = loader_of(dataset_of(made, **options), workers, StatefulDataLoader)
    stream = iter(before)
    assert batches(stream, count) == wanted[:count]
    state = before.state_dict()
    after = loader_of(dataset_of(made, **options), workers, StatefulDataLoader)
    after.load_state_dict(state)
    assert batches(after, 12) == wanted[count:]


@pytest.mark.parametrize("workers", WORKERS)
def test_a_plain_loader_resumes_from_what_its_trainer_has_counted(made, workers):
    options = {"weights": {"law": 2.0}}
    wanted = list(expected(made, **options))
    dataset = dataset_of(made, **options)
    state = dataset.state_after(5 * SIZE)
    assert batches(loader_of(dataset, workers), 5) == wanted[:5]
    if workers == 0:
        assert dataset.state_dict()["taken"] == 5 * SIZE
    again = dataset_of(made, **options)
    again.load_state_dict(json.loads(json.dumps(state)))
    assert batches(loader_of(again, 2 - workers)) == wanted[5:]


@pytest.mark.parametrize("workers", WORKERS)
def test_weights_change_at_a_position_in_every_worker(made, workers):
    options = {"repeat": True, "rank": 1, "world_size": 2}
    dataset = dataset_of(made, **options)
    loader = loader_of(dataset, workers)
    stream = iter(loader)
    found = batches(stream, 3)
    position = dataset.soonest(loader, 3)
    assert position == (SIZE * 2 * (3 + 2 * workers + 1) if workers else SIZE * 2 * 3)
    dataset.set_weights({"law": 0, "cooking": 5}, at=position)
    found += batches(stream, 12)
    dataset.set_weights({0: 9}, at=dataset.soonest(loader, 15) + 4)
    found += batches(stream, 12)
    reader = CorpusReader(made.path, **options)
    reader.set_weights({"law": 0, "cooking": 5}, at=position)
    second = (15 + (2 * workers + 1 if workers else 0)) * SIZE * 2 + 4
    reader.set_weights({"law": 9}, at=second)
    assert found == [keys(itertools.islice(reader, SIZE)) for _ in range(27)]


def test_a_worker_that_has_passed_the_position_says_so(made):
    dataset = dataset_of(made, repeat=True)
    loader = loader_of(dataset, 2)
    stream = iter(loader)
    batches(stream, 3)
    dataset.set_weights({"law": 2})
    with pytest.raises(InputError, match="has been passed"):
        batches(stream, 20)


def test_states_of_workers_merge(made):
    dataset = dataset_of(made)
    loader = loader_of(dataset, 2, StatefulDataLoader, snapshot_every_n_steps=1)
    stream = iter(loader)
    found = batches(stream, 3)
    workers = loader.state_dict()["_snapshot"]["_worker_snapshots"].values()
    state = merge_states([worker["dataset_state"] for worker in workers])
    again = dataset_of(made)
    again.load_state_dict(state)
    assert flat(found + batches(loader_of(again, 0))) == made.keys


def test_rank_and_world_size_come_from_torch_distributed(made, tmp_path):
    script = f"""
import sys
import torch.distributed as dist
from mixcurate.loaders import CorpusReader
from mixcurate.loaders.torch_dataset import CorpusDataset
rank = int(sys.argv[1])
dist.init_process_group("gloo", f"file://{tmp_path}/meet", rank=rank, world_size=2)
documents = CorpusDataset(CorpusReader({made.path!r}))
print(" ".join(f"{{d['id']}}.{{d['copy']}}" for d in documents))
dist.destroy_process_group()
"""
    command = [sys.executable, "-c", script]
    processes = [
        subprocess.Popen([*command, str(rank)], stdout=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    found = [process.communicate(timeout=60)[0].split() for process in processes]
    assert found == [made.keys[0::2], made.keys[1::2]]


def test_a_batch_size_that_cannot_be(made):
    with pytest.raises(InputError, match="chunk 0"):
        CorpusDataset(CorpusReader(made.path), batch_size=0)
