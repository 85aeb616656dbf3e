"""What `benchmarks/stream.py` measures, one question a file; how each figure is counted: `docs/decisions.md`."""
