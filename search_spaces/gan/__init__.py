"""The family of generative adversarial networks: a generator and a discriminator as one candidate."""
