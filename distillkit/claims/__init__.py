"""Claims of papers as data: arms to train, what to measure, what would have to be true; from one file to a verdict."""
