import numpy as np
import pytest
import torch

from livelatent.models.augment import Augmentation
from livelatent.models.cellular import Cellular
from livelatent.stream.minibatch import Minibatch

torch.set_num_threads(1)


def test_a_share_of_the_values_is_masked():
    x = torch.rand(400, 50) + 1
    torch.manual_seed(0)
    got = Augmentation(3, 50, 0.3, 0.0)(x, torch.zeros(400, dtype=torch.int64))
    masked = got == 0
    assert torch.equal(got[~masked], x[~masked])
    assert float(masked.float().mean()) == pytest.approx(0.3, abs=0.02)
    assert float(masked.float().mean(0).std()) < 0.06  # every gene alike


def test_replaced_values_are_draws_from_the_genes_gaussian_in_the_cells_type():
    augmentation = Augmentation(2, 3, 0.0, 0.5)
    augmentation.mean.copy_(torch.tensor([[10.0, 20.0, 0.0], [30.0, 40.0, 50.0]]))
    augmentation.deviation.copy_(torch.tensor([[1.0, 2.0, 1.0], [3.0, 0.0, 5.0]]))
    label = torch.arange(20_000) % 2
    x = torch.full((20_000, 3), 100.0)
    torch.manual_seed(1)
    got = augmentation(x, label)
    for kind in (0, 1):
        for gene in range(3):
            values = got[label == kind, gene]
            drawn = values[values != 100]
            assert len(drawn) / len(values) == pytest.approx(0.5, abs=0.02)
            if (kind, gene) == (0, 2):  # half of these draws were below 0
                assert float((drawn == 0).float().mean()) == pytest.approx(0.5, abs=0.02)
            else:
                assert float(drawn.mean()) == pytest.approx(float(augmentation.mean[kind, gene]), abs=0.2)
                assert float(drawn.std()) == pytest.approx(float(augmentation.deviation[kind, gene]), abs=0.2)


def test_a_model_fits_the_gaussians_on_its_training_cells_and_uses_them_in_training_only(tiny_atlas):
    model = Cellular(tiny_atlas, n_genes=40, n_latent=4, replace_share=0.2, mask_share=0.1, dropout=0.0)
    rows = tiny_atlas.rows("train", labelled=True)
    counts = tiny_atlas.read_cells(rows).toarray().astype(np.float64)
    total = np.asarray(tiny_atlas.total)[rows, None]
    x = np.log1p(counts * np.divide(model.mean_total, total, out=np.zeros_like(total), where=total > 0))
    genes = [list(tiny_atlas.genes).index(gene) for gene in model.genes]
    own = x[tiny_atlas.label[rows] == 2][:, genes]
    np.testing.assert_allclose(model.augmentation.mean[2], own.mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model.augmentation.deviation[2], own.std(0, ddof=1), rtol=1e-4, atol=1e-5)
    code = torch.arange(32)
    minibatch = Minibatch(x=torch.rand(32, 40) + 1, label=code % 4, batch=code % 3, cell=code, total=code.float())
    stage = model.stages[0]

    def loss():
        return model.losses(minibatch, stage).total.item()

    assert loss() != loss()
    model.eval()
    assert loss() == loss()


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_share_is_a_share(share):
    with pytest.raises(ValueError, match="mask_share is a share"):
        Augmentation(2, 3, share, 0.0)
