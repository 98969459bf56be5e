"""Spaces of recurrent networks, and of convolutions over words."""
