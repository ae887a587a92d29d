"""What is stored: which line says where, what to predict from, and which update takes the least."""
