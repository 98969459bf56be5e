"""Compare strategies on published tables of trainings, in virtual time."""
