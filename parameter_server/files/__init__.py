"""What of a store is on disk, and how a shard comes back from it."""
