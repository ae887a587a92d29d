"""What people type, one file a verb, without how it is parsed."""
