"""Where stream and model meet."""
