"""Scores for cells unlike anything labelled, and the conformal p-value of their sum (docs/methods.md)."""
