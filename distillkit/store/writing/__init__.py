"""Rows into a store."""
