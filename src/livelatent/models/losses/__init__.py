"""One loss per file, each citing its equation."""
