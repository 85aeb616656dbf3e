"""A latent to judge: five labels and three batches of unequal size, neither told apart cleanly."""

import numpy as np

N_CELLS = 700


def mixed_latent() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Latent [cell, 10], labels, batches, and components [cell, 8] that batches move further; batch 2 lacks label 4."""
    rng = np.random.default_rng(0)
    label = rng.choice(5, N_CELLS, p=[0.4, 0.25, 0.2, 0.1, 0.05])
    batch = rng.choice(3, N_CELLS, p=[0.5, 0.3, 0.2])
    batch[(label == 4) & (batch == 2)] = 0
    centre, shift = rng.normal(size=(5, 10)) * 1.2, rng.normal(size=(3, 10)) * 0.5
    latent = centre[label] + shift[batch] + rng.normal(size=(N_CELLS, 10))
    before = rng.normal(size=(N_CELLS, 8)) + batch[:, None] * np.linspace(1.5, 0.2, 8)
    return latent.astype(np.float32), label, batch, before.astype(np.float32)
