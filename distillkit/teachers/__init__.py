"""Frozen teachers: pixels or tokens in, `Features` out. One kind is one file; the folder is the registry."""
