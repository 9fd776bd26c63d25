"""What is done to a finished store."""
