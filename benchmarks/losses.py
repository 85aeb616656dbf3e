"""What Model 1's loss costs: `python benchmarks/losses.py --json [--rounds 15] [--cells 256 1024]`.

CPU time on one thread of forward and backward of the full loss (type, batch and centroid term from the latent), over
that of forward and backward of `normalize(z) @ normalize(z).T`, and over that of a whole optimiser step (encoder,
loss, Adam). The three take turns within a round; medians over rounds. Bars: 9 at a minibatch of 256 cells and 6.5 at
1,024; a quarter of a step at 1,024.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from livelatent.models.cellular import Cellular, CellularConfig
from livelatent.stream.minibatch import Minibatch

BARS = {256: 9.0, 1024: 6.5}
STEP_BAR = 0.25
N_TYPES, N_BATCHES, N_GENES, N_LATENT = 20, 8, 2000, 100


def model_1(batch_term: str) -> Cellular:
    """Model 1 without an atlas: what it counts and measures there is made up."""
    generator = torch.Generator().manual_seed(1)
    names = {"label_names": N_TYPES, "batch_names": N_BATCHES, "genes": N_GENES}
    model = Cellular(
        CellularConfig(
            **{name: tuple(f"{name}{k}" for k in range(n)) for name, n in names.items()},
            mean_total=1e4,
            n_latent=N_LATENT,
            batch_term=batch_term,
        )
    )
    model.type_count.copy_(torch.randint(50, 5000, (N_TYPES,), generator=generator))
    model.batch_count.copy_(torch.randint(500, 5000, (N_BATCHES,), generator=generator))
    reference = torch.rand(N_TYPES, N_TYPES, generator=generator)
    model.reference.copy_((reference + reference.T).fill_diagonal_(0))
    return model.train()


def cells(n: int) -> Minibatch:
    """Types of uneven size, spread over the batches."""
    generator = torch.Generator().manual_seed(2)
    share = torch.arange(1, N_TYPES + 1, dtype=torch.float64)
    return Minibatch(
        x=torch.rand(n, N_GENES, generator=generator),
        label=torch.multinomial(share, n, replacement=True, generator=generator),
        batch=torch.randint(N_BATCHES, (n,), generator=generator),
        cell=torch.arange(n),
        total=torch.ones(n),
    )


def cpu_s(work: Callable[[], object], repeats: int) -> float:
    """CPU seconds of one call, over `repeats` in a row."""
    start = time.process_time()
    for _ in range(repeats):
        work()
    return (time.process_time() - start) / repeats


def works(n: int, batch_term: str) -> dict[str, Callable[[], object]]:
    """The product, the loss, and a whole step, each forward and backward."""
    model, minibatch = model_1(batch_term), cells(n)
    stage = model.stages[0]
    optimizer = stage.optimizer(model)
    z = torch.randn(n, N_LATENT, generator=torch.Generator().manual_seed(3), requires_grad=True)
    weight = torch.randn(n, n, generator=torch.Generator().manual_seed(4))

    def product() -> None:
        unit = nn.functional.normalize(z)
        (unit @ nn.functional.normalize(z).T).backward(weight)
        z.grad = None

    def loss() -> None:
        terms, _ = model._representation_terms(z, minibatch.label, minibatch.batch, stage.weights)
        total: Tensor = sum((stage.weights[name] * term for name, term in terms.items()), z.new_zeros(()))
        total.backward()
        z.grad = None

    def step() -> None:
        model.losses(minibatch, stage).total.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return {"product": product, "loss": loss, "step": step}


def figures(n: int, batch_term: str, rounds: int) -> dict[str, Any]:
    """Medians over interleaved rounds."""
    of = works(n, batch_term)
    repeats = max(1024 // n, 1) * 2
    for work in of.values():
        work()
    spent = [{name: cpu_s(work, repeats) for name, work in of.items()} for _ in range(rounds)]
    over = [one["loss"] / one["product"] for one in spent]
    of_step = [one["loss"] / one["step"] for one in spent]
    return {
        **{f"{name}_ms": round(1e3 * statistics.median(one[name] for one in spent), 3) for name in of},
        "over_product": round(statistics.median(over), 2),
        "over_product_range": [round(min(over), 2), round(max(over), 2)],
        "bar": BARS.get(n),
        "share_of_step": round(statistics.median(of_step), 3),
        "share_bar": STEP_BAR if n == 1024 else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--cells", type=int, nargs="+", default=[256, 1024])
    args = parser.parse_args()
    torch.set_num_threads(1)
    result = {form: {str(n): figures(n, form, args.rounds) for n in args.cells} for form in ("bounded", "inverse")}
    print(json.dumps(result, indent=None if args.json else 1))


if __name__ == "__main__":
    main()
