"""Who watches a search from inside its driver: a module in here is a watcher under its file's name."""
