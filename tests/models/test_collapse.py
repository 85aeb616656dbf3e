import numpy as np
import pytest
import torch
from sklearn.metrics.pairwise import cosine_similarity

from livelatent.models.active_units import latent_alarm, mean_cosine, point_alarm
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


@pytest.mark.parametrize(
    ("scale", "centre", "is_unit", "collapses"),
    [
        (1.0, 0.0, False, False),
        (1.0, 50.0, False, False),  # far from the origin is not alike
        (0.03, 0.0, False, True),  # the prior's own, as of a posterior that says nothing
        (0.0, 0.0, False, True),
        (0.0, 3.0, False, True),  # one point
        (1.0, 0.0, True, False),  # 128 numbers of length 1 have a variance below a hundredth each
        (0.01, 1.0, True, True),
    ],
)
def test_a_latent_of_any_make_has_collapsed_where_its_cells_are_alike(scale, centre, is_unit, collapses):
    latent = torch.randn(60, 128, generator=torch.Generator().manual_seed(4)) * scale + centre
    latent = torch.nn.functional.normalize(latent) if is_unit else latent
    assert (latent_alarm(latent) is not None) == collapses
    assert latent_alarm(latent[:1]) is None and latent_alarm(latent * float("nan")) is None
