"""A search on a cluster: what travels there, who agrees with whom, and how it is followed from here."""
