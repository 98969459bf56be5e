"""What can be learnt: one task per file."""
