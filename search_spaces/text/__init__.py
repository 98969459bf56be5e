"""Spaces of networks that classify texts: convolutions, recurrent contexts, attention to words and sentences."""
