"""A finished student, or a teacher, at work: pictures and texts in, vectors out; those of a folder are kept."""
