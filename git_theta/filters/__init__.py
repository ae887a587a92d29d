"""Clean and smudge: a checkpoint's bytes to a manifest and back."""
