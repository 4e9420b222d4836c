"""The rows of our own backends, one file for each group of kinds. pipeline/registry.py puts them together."""
