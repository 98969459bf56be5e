"""What Prometheus is shown of a search: counted from its journal, served by its driver, found through files."""
