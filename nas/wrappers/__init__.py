"""Small strategies around a strategy: a budget, a random arm, no duplicates, constraints, the final retraining."""
