"""Where children are trained: a trial goes in, a result comes out."""
