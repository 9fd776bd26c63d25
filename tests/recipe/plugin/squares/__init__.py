"""Coloured squares, a teacher that sees their colours, a student that learns to."""
