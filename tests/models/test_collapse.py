import numpy as np
import torch
from sklearn.metrics.pairwise import cosine_similarity

from livelatent.models.active_units import mean_cosine, point_alarm
from livelatent.models.cellular import Cellular


def unit(seed, spread, n_latent=6):
    latent = torch.randn(50, n_latent, generator=torch.Generator().manual_seed(seed)) * spread + torch.ones(n_latent)
    return torch.nn.functional.normalize(latent)


def test_the_mean_cosine_is_that_of_all_pairs():
    cells = unit(0, 0.7)
    pairs = cosine_similarity(cells.numpy())[np.triu_indices(50, 1)]
    assert abs(mean_cosine(cells) - pairs.mean()) < 1e-6


def test_cells_that_are_one_point_are_an_alarm_and_others_are_not():
    assert "collapsed" in point_alarm(unit(1, 0.01))
    assert point_alarm(unit(1, 0.7)) is None
    assert point_alarm(unit(1, 0.01)[:1]) is None  # one cell differs from nothing


def test_cellular_says_so_of_its_validation_cells(tiny_atlas):
    model = Cellular(tiny_atlas, n_genes=20, n_latent=4)
    assert model.verdict({"latent": unit(2, 0.001, 4)}).alarms
    assert model.verdict({"latent": unit(2, 1.0, 4)}).alarms == ()
