"""What a trainer imports: readers of a finished corpus, with weights that can change."""

from mixcurate.loaders.division import merge_states
from mixcurate.loaders.reader import CorpusReader

__all__ = ["CorpusReader", "merge_states"]
