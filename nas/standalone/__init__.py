"""A class made standalone: its source, and the sources of all that it uses, in one file."""
