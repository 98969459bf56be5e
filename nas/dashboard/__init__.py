"""The dashboard: searches on a web page, as they run; with a token they can be steered there."""
