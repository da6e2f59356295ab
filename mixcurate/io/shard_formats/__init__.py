"""Formats of shards, one module each; ``table`` names them."""
