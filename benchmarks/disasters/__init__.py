"""What goes wrong under the searches of `benchmarks/chaos.py`, and what must hold nevertheless."""
