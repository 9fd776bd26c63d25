"""What is known of the corpora of the papers, and what of them is there."""
