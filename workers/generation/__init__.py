"""The training and judging of generators of images: losses, the course of a pair of networks, figures, pictures."""
