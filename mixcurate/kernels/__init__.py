"""Pure computation: arrays or Arrow batches in, arrays or Arrow batches out."""
