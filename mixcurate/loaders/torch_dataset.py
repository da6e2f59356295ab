"""A corpus as a dataset of torch, for ``DataLoader`` and torchdata's ``StatefulDataLoader``."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from mixcurate.errors import InputError
from mixcurate.loaders.division import Division
from mixcurate.loaders.reader import CorpusReader
from mixcurate.loaders.states import Weights

#: Changes of weights that workers may be behind by.
_CHANGES = 256


class CorpusDataset(IterableDataset):
    """Documents of a corpus, for this rank and for each of its loader's workers.

    Batches are the same for any number of workers, as long as the loader's batch size is told.
    """

    def __init__(self, reader: CorpusReader, batch_size: int = 1) -> None:
        """Wrap a reader.

        Args:
            reader: at its beginning. If its ``world_size`` is 1 and torch.distributed is
                initialised, rank and world size are taken from there.
            batch_size: that of the loader.

        Raises:
            InputError: the batch size is not above zero.
        """
        division = Division(reader.rank, reader.world_size, 0, 1, batch_size)
        distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
        if reader.world_size == 1 and distributed:
            rank, world_size = torch.distributed.get_rank(), torch.distributed.get_world_size()
            division = dataclasses.replace(division, rank=rank, world_size=world_size)
        state = reader.state_dict()
        self._reader = reader.with_division(division)
        self._reader.load_state_dict(state)
        self._batch_size = batch_size
        # Row 0: how many changes of weights there were, and the epoch; then the latest of them,
        # position and factors. Workers see it change.
        self._names = self._reader.group_names()
        self._shared = torch.zeros(_CHANGES + 1, 1 + max(1, len(self._names)), dtype=torch.float64)
        self._shared[0, 1] = -1
        self._shared.share_memory_()
        self._applied = 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Documents of this process, from where it is."""
        reader = self._mine()
        epoch = int(self._shared[0, 1])
        if epoch >= 0:
            reader.set_epoch(epoch)
        self._hear(reader)
        for number, document in enumerate(reader, 1):
            yield document
            if number % self._batch_size == 0:
                self._hear(reader)

    def set_weights(self, weights: Weights, at: int | None = None) -> None:
        """As ``CorpusReader.set_weights``, for all workers of this rank too.

        Args:
            weights: factors of domains or sources.
            at: position from which they hold. Workers read ahead, so that with any of them it is to
                be at least what ``soonest`` tells; a worker that has passed it raises InputError.
        """
        if self._applied != int(self._shared[0, 0]):
            raise InputError("weights are set in the process of the trainer, not in a worker")
        position = self._reader.position if at is None else at
        self._reader.set_weights(weights, position)
        given: dict[Any, float] = dict(weights)
        factors = [float(given.get(name, given.get(n, 1.0))) for name, n in self._names]
        self._applied += 1
        row = 1 + (self._applied - 1) % _CHANGES
        self._shared[row] = torch.tensor([position, *factors], dtype=torch.float64)
        self._shared[0, 0] = self._applied

    def soonest(self, loader: DataLoader, batches: int) -> int:
        """The first position that no worker has read when ``batches`` were taken from the loader.

        Batches are counted from where this dataset began to read, or its epoch.
        """
        ahead = (loader.prefetch_factor or 0) * loader.num_workers
        if not ahead:
            return self._reader.position
        return self._reader.position_after((batches + ahead + 1) * self._batch_size)

    def set_epoch(self, epoch: int) -> None:
        """Which epoch the next iteration reads; needed with workers, which begin anew each time."""
        self._reader.set_epoch(epoch)
        self._shared[0, 1] = epoch

    def state_dict(self) -> dict[str, Any]:
        """Where this process is: in a worker, that worker."""
        return self._mine().state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state of this process, of ``state_after``, or of ``merge_states``."""
        self._mine().load_state_dict(state)

    def state_after(self, documents: int) -> dict[str, Any]:
        """The state of this rank once its trainer has had so many documents from the loader.

        For a plain ``DataLoader`` with workers: they read ahead, so that the trainer counts.
        Documents are counted from where this dataset began to read, or its epoch.
        """
        reader = self._reader.with_division(Division(self._reader.rank, self._reader.world_size))
        reader.load_state_dict(self._reader.state_dict())
        reader.skip(documents)
        return reader.state_dict()

    def _mine(self) -> CorpusReader:
        """The reader of this process; a worker makes one of its own from where its rank began."""
        info = get_worker_info()
        if info is not None and self._reader.workers != info.num_workers:
            rank = self._reader
            division = Division(
                rank.rank, rank.world_size, info.id, info.num_workers, self._batch_size
            )
            self._reader = rank.with_division(division)
            self._reader.load_state_dict(rank.state_dict())
        return self._reader

    def _hear(self, reader: CorpusReader) -> None:
        """Make the changes of weights that the trainer has asked for since."""
        wanted = int(self._shared[0, 0])
        if wanted - self._applied > _CHANGES:
            raise InputError(f"more than {_CHANGES} changes of weights between two batches")
        while self._applied < wanted:
            row = self._shared[1 + self._applied % _CHANGES].tolist()
            factors = dict(zip((name for name, _ in self._names), row[1:], strict=False))
            reader.set_weights(factors, int(row[0]))
            self._applied += 1
