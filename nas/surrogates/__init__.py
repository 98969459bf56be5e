"""Surrogates: models that predict a child's score from its tokens, before anything is trained."""
