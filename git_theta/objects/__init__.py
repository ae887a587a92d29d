"""Stored objects: their file format, the local store and its index."""
