"""Translation: what generators of images from images learn from, and what they lose."""
