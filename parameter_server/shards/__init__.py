"""What one shard decides and keeps, without threads, files or a clock of its own."""
