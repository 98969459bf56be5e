"""Other people's search methods, called as their users call them: one file each, on tables of published trainings."""
