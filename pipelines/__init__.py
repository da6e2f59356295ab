"""One file a stage, and the `mixcurate` command."""
