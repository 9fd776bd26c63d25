"""Losses: `(Batch, Features)` in, a scalar out. One idea is one file; the folder is the registry."""
