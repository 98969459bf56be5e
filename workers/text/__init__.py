"""Text: from files to numbers."""
