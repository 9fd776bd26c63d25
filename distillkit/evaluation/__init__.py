"""Evaluation below evaluate.py: how evals ask a teacher or a student."""
