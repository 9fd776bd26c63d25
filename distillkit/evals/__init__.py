"""Evaluations: an encoder in, named numbers out. One kind is one file; the folder is the registry."""
