"""What people see: the one sanitiser, sizes and counts, colours, pagers, progress, and Ctrl-C."""
