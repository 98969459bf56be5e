"""What can be built: tables of decisions, and the networks that they describe."""
