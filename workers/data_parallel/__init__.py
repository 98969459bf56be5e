"""One network trained by several workers, which share its parameters through a store."""
