"""The kinds of machines that run attempts: one file each, named as in `pool: NAME` of a job."""
