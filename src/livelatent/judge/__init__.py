"""Latents in, numbers out: prototypes, novelty, markers, annotation."""
