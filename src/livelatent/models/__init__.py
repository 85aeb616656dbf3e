"""Tensors in, tensors out; no loop."""
