"""The feature store: what a teacher said, sharded, checksummed and joined by key. See FORMAT.md."""
