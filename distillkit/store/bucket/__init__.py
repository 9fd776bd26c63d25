"""Stores behind a URL, and the cache that their shards come to."""
