"""Rows out of a store."""
