"""mixcurate: raw web text in, training shards at the mixture that was asked for out."""

__version__ = "0.1.0"
