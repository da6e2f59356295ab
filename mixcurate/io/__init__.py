"""Codecs on open files, storage, the part-file protocol and the exchange."""
