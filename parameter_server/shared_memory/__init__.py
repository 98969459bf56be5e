"""Memory that processes of one machine share: the arena of a shard, the slots of its clients."""
