"""One store over many shards, as who uses it sees it."""
