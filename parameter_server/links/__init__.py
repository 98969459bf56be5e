"""Ways to reach a shard: in this process, on this machine, over a network."""
