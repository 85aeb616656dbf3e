"""The parts of `benchmarks/widget.py`."""
