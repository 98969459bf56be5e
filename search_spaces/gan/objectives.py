"""The adversarial objectives by name, divided by what their discriminator gives.

A score objective trains a discriminator that gives one number per image; an energy objective trains an auto-encoder
whose reconstruction error is the energy (Zhao et al., "Energy-based Generative Adversarial Networks", ICLR 2017).
"""

from typing import Final

SCORES: Final = (
    "minimax",
    "non_saturating",
    "least_squares",
    "loss_sensitive",
    "wasserstein_clipping",
    "wasserstein_penalty",
    "hinge",
    "kl",
    "reverse_kl",
    "pearson",
    "hellinger",
    "jensen_shannon",
)
ENERGIES: Final = ("energy_based", "margin_adaptive", "boundary_equilibrium")
