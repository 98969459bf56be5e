"""Ways in which a shard listens: to this machine, to a network."""
