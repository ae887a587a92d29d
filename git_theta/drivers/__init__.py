"""What Git starts: filters, the diff and merge drivers, textconv and hooks."""
