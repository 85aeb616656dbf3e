"""How well a latent keeps types apart and batches together: one metric a file, all from one kNN graph."""
