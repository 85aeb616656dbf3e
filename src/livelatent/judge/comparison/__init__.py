"""How methods name cells of batches that they have not seen, side by side."""
