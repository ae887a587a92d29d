"""Merging checkpoints."""
