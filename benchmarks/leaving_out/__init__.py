"""What `benchmarks/novelty.py` measures: types left out of training one by one, and whole batches of known types."""
