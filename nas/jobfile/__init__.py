"""How a job file is read, and what is said of the mistakes in it."""
