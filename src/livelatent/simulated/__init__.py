"""Atlases with a ground truth. (Not `simulate`: the function of that name would be hidden behind the package.)"""

from livelatent.simulated.recipe import Recipe
from livelatent.simulated.simulate import simulate
from livelatent.simulated.truth import Truth, truth_of

__all__ = ["Recipe", "Truth", "simulate", "truth_of"]
