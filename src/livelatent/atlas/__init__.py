"""The data on disk: sources in, one shuffled store, passes over it, labels beside it."""
