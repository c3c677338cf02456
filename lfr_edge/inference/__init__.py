"""Engine sets: which models, made comparable by which numbers, from where, and the port that runs them."""
