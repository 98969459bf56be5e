"""What is seen of a network before any training: one score per file."""
