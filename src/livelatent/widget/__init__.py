"""The notebook's face."""
