"""Encoders, tokenizers, language identification and text extraction."""
