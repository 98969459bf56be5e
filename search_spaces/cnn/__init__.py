"""Networks of convolutions for images."""
