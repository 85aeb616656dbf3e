"""Score 3: a small network that tells cells from impossible mixtures of two types."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from livelatent.arrays import Float, Int, ndarray

__all__ = ["SyntheticScore", "fit_synthetic"]

WIDTH = 128
STEPS = 250
REAL_CELLS = 256
MADE_CELLS = 128


@dataclass(frozen=True)
class SyntheticScore:
    """Several networks of one hidden layer, whose last class is "made, not measured"."""

    sd: Float[ndarray, ""]
    """One number: PCs keep their relative sizes."""
    weight_in: Float[ndarray, "network component hidden"]
    bias_in: Float[ndarray, "network one hidden"]
    weight_out: Float[ndarray, "network hidden class_"]
    bias_out: Float[ndarray, "network one class_"]

    def score(self, pcs: Float[ndarray, "cell component"]) -> Float[ndarray, " cell"]:
        """The log odds of "made" against all types, summed over the networks; 0 where there was one type only."""
        if not len(self.weight_in):
            return np.zeros(len(pcs))
        parameters = [torch.from_numpy(getattr(self, name)) for name in _PARAMETERS]
        total = []
        with torch.no_grad():
            for start in range(0, len(pcs), 8192):
                x = torch.from_numpy(np.asarray(pcs[start : start + 8192] / self.sd, np.float32))
                logits = _logits(x.expand(len(self.weight_in), -1, -1), parameters)
                total.append((logits[..., -1] - logits[..., :-1].logsumexp(dim=-1)).sum(dim=0))
        return torch.cat(total).double().numpy() if total else np.empty(0)


_PARAMETERS = ("weight_in", "bias_in", "weight_out", "bias_out")


def fit_synthetic(
    pcs: Float[ndarray, "reference component"],
    label: Int[ndarray, " reference"],
    *,
    n_networks: int = 3,
    seed: int = 0,
) -> SyntheticScore:
    """Train the networks on reference cells and on cells made from two cells a, b of different types.

    A third are mixtures w a + (1 - w) b, w in (.3, .7); a third are a with each PC exchanged for b's with a chance in
    (.1, .5); a third lie beyond a, at b + w (a - b), w in (1.2, 2).

    Notes
    -----
    Outlier exposure (Hendrycks, Mazeika and Dietterich, ICLR 2019) with outliers that are made. 250 steps: more are
    worse (600 gave an AUROC of .855 for .875), since the networks then learn the mixtures by heart. With one type there
    is nothing to mix, and the score is constant.
    """
    present, code = np.unique(label, return_inverse=True)
    sd = np.asarray(max(float(pcs.std()), 1e-12))
    n_pcs, n_types = pcs.shape[1], len(present)
    if n_types < 2:
        empty = {name: np.empty((0, 1, 1), np.float32) for name in _PARAMETERS}
        return SyntheticScore(sd, **empty)
    random = torch.Generator().manual_seed(seed)
    x = torch.from_numpy(np.asarray(pcs / sd, np.float32))
    y = torch.from_numpy(code)
    # Cells in order of their type, so that "a cell of type t" is one random number.
    by_type = torch.argsort(y, stable=True)
    count = torch.bincount(y, minlength=n_types)
    first = torch.cumsum(count, dim=0) - count

    def uniform(*shape: int, low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(*shape, generator=random)

    def cells_of(types: Tensor) -> Tensor:
        within = (torch.rand(types.shape, generator=random) * count[types]).long()
        return x[by_type[first[types] + torch.minimum(within, count[types] - 1)]]

    def made() -> Tensor:
        shape = (n_networks, 3 * MADE_CELLS)
        of_a = torch.randint(n_types, shape, generator=random)
        of_b = (of_a + torch.randint(1, n_types, shape, generator=random)) % n_types
        a, b = cells_of(of_a).chunk(3, dim=1), cells_of(of_b).chunk(3, dim=1)
        share = uniform(n_networks, MADE_CELLS, 1, low=0.3, high=0.7)
        chance = uniform(n_networks, MADE_CELLS, 1, low=0.1, high=0.5)
        swap = torch.rand(a[1].shape, generator=random) < chance
        beyond = uniform(n_networks, MADE_CELLS, 1, low=1.2, high=2.0)
        return torch.cat(
            [share * a[0] + (1 - share) * b[0], torch.where(swap, b[1], a[1]), b[2] + beyond * (a[2] - b[2])], dim=1
        )

    def layer(fan_in: int, fan_out: int) -> tuple[Tensor, Tensor]:
        # torch.nn.Linear's own start.
        bound = fan_in**-0.5
        weight = uniform(n_networks, fan_in, fan_out, low=-bound, high=bound)
        return weight.requires_grad_(), uniform(n_networks, 1, fan_out, low=-bound, high=bound).requires_grad_()

    parameters = [*layer(n_pcs, WIDTH), *layer(WIDTH, n_types + 1)]
    optimiser = torch.optim.AdamW(parameters, lr=2e-3, weight_decay=1e-2)
    target_made = torch.full((n_networks, 3 * MADE_CELLS), n_types)
    for _ in range(STEPS):
        real = torch.randint(len(x), (n_networks, REAL_CELLS), generator=random)
        logits = _logits(torch.cat([x[real], made()], dim=1), parameters)
        target = torch.cat([y[real], target_made], dim=1)
        # A mean over each network's cells, a sum over networks: their gradients never meet.
        loss = n_networks * torch.nn.functional.cross_entropy(logits.flatten(0, 1), target.flatten())
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
    return SyntheticScore(sd, **{n: p.detach().numpy() for n, p in zip(_PARAMETERS, parameters, strict=True)})


def _logits(x: Tensor, parameters: list[Tensor]) -> Tensor:
    """[network, cell, class] from [network, cell, component]."""
    weight_in, bias_in, weight_out, bias_out = parameters
    return torch.baddbmm(bias_out, torch.baddbmm(bias_in, x, weight_in).relu(), weight_out)
