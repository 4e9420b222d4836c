"""The rows of our own backends, one file per group of kinds. pipeline/registry.py collects them."""
