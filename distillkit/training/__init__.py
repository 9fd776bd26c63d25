"""What a run is made of: batches as pure functions of the step, a learner that takes them, and what is kept of it."""
