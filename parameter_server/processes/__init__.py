"""The processes of a store: who starts them, replaces them, and ends them."""
