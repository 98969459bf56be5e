"""Servers of parameters that are compared with ours, each reached from a process of its own; and how ours is used."""
