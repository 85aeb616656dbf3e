"""The loss terms against slow loops, closed forms, and the authors' code (tests/fixtures/cellular_loss.npz)."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from livelatent.models.cellular import Cellular, CellularConfig
from livelatent.models.losses.batch_mixing import batch_mixing
from livelatent.models.losses.centroid import centroid
from livelatent.models.losses.class_weights import class_weights
from livelatent.models.losses.similarity import exponential_similarity
from livelatent.models.losses.soft_nearest_neighbour import soft_nearest_neighbour
from livelatent.stream.minibatch import Minibatch

FIXTURE = Path(__file__).parents[1] / "fixtures" / "cellular_loss.npz"


def cosines(z):
    unit = torch.nn.functional.normalize(z)
    return unit @ unit.T


def slow_alpha(z, a, b, temperature):
    return math.exp(float(np.dot(z[a], z[b]) / np.linalg.norm(z[a]) / np.linalg.norm(z[b])) / temperature)


def slow_type_loss(z, label, weight, temperature):
    by_class, skipped = {}, 0
    for anchor in range(len(z)):
        others = [k for k in range(len(z)) if k != anchor]
        positives = [k for k in others if label[k] == label[anchor]]
        if not positives:
            skipped += 1
            continue
        ratio = sum(slow_alpha(z, anchor, k, temperature) for k in positives) / sum(
            slow_alpha(z, anchor, k, temperature) for k in others
        )
        by_class.setdefault(label[anchor], []).append(-math.log(ratio))
    return sum(weight[c] * np.mean(values) for c, values in by_class.items()), skipped


def slow_batch_loss(z, label, batch, weight, temperature, form):
    by_batch, skipped = {}, 0
    for anchor in range(len(z)):
        kin = [k for k in range(len(z)) if k != anchor and label[k] == label[anchor]]
        own = [k for k in kin if batch[k] == batch[anchor]]
        if not own or len(own) == len(kin):
            skipped += 1
            continue
        ratio = sum(slow_alpha(z, anchor, k, temperature) for k in own) / sum(
            slow_alpha(z, anchor, k, temperature) for k in kin
        )
        length = -math.log(ratio)
        bounded = max(0.0, math.log(len(kin) / len(own)) - length)
        by_batch.setdefault(batch[anchor], []).append(1 / length if form == "inverse" else bounded)
    return sum(weight[b] * np.mean(values) for b, values in by_batch.items()), skipped


def slow_centroid_loss(z, label, reference):
    present = sorted(set(label))
    centre = {c: np.mean([z[i] for i in range(len(z)) if label[i] == c], axis=0) for c in present}
    pairs = [(a, b) for a in present for b in present if a != b]
    far = max(np.linalg.norm(centre[a] - centre[b]) for a, b in pairs)
    ref_far = max(reference[a][b] for a, b in pairs)
    errors = [
        (np.linalg.norm(centre[a] - centre[b]) / far - reference[a][b] / ref_far) ** 2
        for a, b in pairs
        if reference[a][b] > 0
    ]
    return np.mean(errors)


@pytest.fixture(params=range(4))
def cells(request):
    """Uneven types and batches, one type of one cell, one type of one batch, an absent type and an absent batch."""
    rng = np.random.default_rng(request.param)
    label = rng.choice([0, 1, 2, 4], 37, p=[0.5, 0.3, 0.15, 0.05])
    label[0] = 5
    batch = rng.choice([0, 1, 3], 37, p=[0.6, 0.3, 0.1])
    batch[label == 2] = 1
    return rng.normal(size=(37, 9)), label, batch


@pytest.mark.parametrize("weights", ["uniform", "thesis"])
def test_type_term_equals_the_double_loop(cells, weights):
    z, label, _ = cells
    weight = class_weights(torch.tensor([50, 30, 20, 0, 3, 1]), weights)
    similarity = exponential_similarity(cosines(torch.tensor(z)), 0.25)
    value, skipped = soft_nearest_neighbour(similarity, torch.tensor(label), weight.double())
    wanted, wanted_skipped = slow_type_loss(z, label, weight.tolist(), 0.25)
    assert float(value) == pytest.approx(wanted, rel=1e-10)
    assert int(skipped) == wanted_skipped >= 1


@pytest.mark.parametrize("form", ["inverse", "bounded"])
def test_batch_term_equals_the_double_loop(cells, form):
    z, label, batch = cells
    weight = torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=torch.float64)
    similarity = exponential_similarity(cosines(torch.tensor(z)), 0.5)
    value, skipped = batch_mixing(similarity, torch.tensor(label), torch.tensor(batch), weight, form)
    wanted, wanted_skipped = slow_batch_loss(z, label, batch, weight.tolist(), 0.5, form)
    assert float(value) == pytest.approx(wanted, rel=1e-9)
    assert int(skipped) == wanted_skipped >= 1


def test_centroid_term_equals_the_loop_and_ignores_scale(cells):
    z, label, _ = cells
    reference = np.abs(np.random.default_rng(9).normal(size=(6, 6)))
    reference = reference + reference.T
    np.fill_diagonal(reference, 0)
    reference[0, 1] = reference[1, 0] = 0
    value = centroid(torch.tensor(z), torch.tensor(label), torch.tensor(reference))
    assert float(value) == pytest.approx(slow_centroid_loss(z, label, reference), rel=1e-10)
    scaled = centroid(torch.tensor(7 * z), torch.tensor(label), torch.tensor(reference))
    assert float(scaled) == pytest.approx(float(value), rel=1e-12)


def test_centroid_term_by_hand_with_a_pair_never_seen_together():
    # Centroids at 0, 3 and 1 on a line: distances 3, 1, 2, over 3. The reference knows 0-1 (4) and 0-2 (2), over 4.
    z = torch.tensor([[-1.0, 0], [1, 0], [3, 0], [1, 0]])
    reference = torch.tensor([[0.0, 4, 2], [4, 0, 0], [2, 0, 0]])
    value = centroid(z, torch.tensor([0, 0, 1, 2]), reference)
    assert float(value) == pytest.approx(((1 - 1) ** 2 + (1 / 3 - 1 / 2) ** 2) / 2, rel=1e-6)


def test_centroid_term_by_hand_for_three_types_in_two_batches():
    # Before training, on a line: batch 0 has A at 0 and B at 4; batch 1 has B at 7 and C at 9. So A-B is 4, B-C is 2,
    # and A-C is never seen.
    reference = torch.tensor([[0.0, 4, 0], [4, 0, 2], [0, 2, 0]]) / 4
    label = torch.tensor([0, 0, 0, 1, 1, 2])
    z = torch.tensor([[0.0, 0], [2, 0], [4, 0], [2, 3], [2, 5], [2, -6]])  # centroids (2, 0), (2, 4), (2, -6)
    # Distances A-B 4, B-C 10, A-C 6, over 10; the reference's own, over its largest, 1 and 2 / 4.
    wanted = ((4 / 10 - 1) ** 2 + (10 / 10 - 2 / 4) ** 2) / 2
    assert float(centroid(z, label, reference)) == pytest.approx(wanted, rel=1e-6)
    assert float(centroid(7 * z, label, reference)) == pytest.approx(wanted, rel=1e-6)
    # Without A nothing but B-C is left, which is the largest on both sides.
    assert float(centroid(z[3:], label[3:], reference)) == 0


def test_similarity_is_2_8_and_2_10_but_for_the_shift_that_cancels():
    z = np.random.default_rng(2).normal(size=(6, 4))
    similarity = exponential_similarity(cosines(torch.tensor(z)), 0.3)
    for a in range(6):
        for b in range(6):
            wanted = 0.0 if a == b else slow_alpha(z, a, b, 0.3) / math.exp(1 / 0.3)
            assert float(similarity[a, b]) == pytest.approx(wanted, rel=1e-12)


def test_with_one_positive_each_the_type_term_is_nt_xent():
    # Equation 2.7, by torch's own cross-entropy: cells 2k and 2k + 1 are each other's only positive.
    z = torch.randn(12, 5, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    label = torch.arange(12) // 2
    logits = (cosines(z) / 0.4).fill_diagonal_(-torch.inf)
    wanted = torch.nn.functional.cross_entropy(logits, torch.arange(12) ^ 1)
    weight = torch.full((6,), 1 / 6, dtype=torch.float64)
    value, skipped = soft_nearest_neighbour(exponential_similarity(cosines(z), 0.4), label, weight)
    assert float(value) == pytest.approx(float(wanted), rel=1e-12)
    assert int(skipped) == 0


@pytest.mark.parametrize("form", ["inverse", "bounded"])
def test_gradients_are_those_of_finite_differences(cells, form):
    z, label, batch = (torch.tensor(part) for part in cells)
    z, label, batch = z[:14, :4].clone().requires_grad_(), label[:14], batch[:14]
    reference = torch.rand(6, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    reference = (reference + reference.T).fill_diagonal_(0)
    uniform = torch.full((6,), 1 / 6, dtype=torch.float64)

    def total(z, temperature):
        cosine = cosines(z)
        by_type, _ = soft_nearest_neighbour(exponential_similarity(cosine, temperature), label, uniform)
        by_batch, _ = batch_mixing(exponential_similarity(cosine, 0.5), label, batch, uniform[:4], form)
        return 0.9 * by_type + 0.1 * by_batch + centroid(z, label, reference)

    temperature = torch.tensor(0.25, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(total, (z, temperature), atol=1e-7)


@pytest.mark.parametrize("form", ["inverse", "bounded"])
def test_cells_of_no_batch_are_as_good_as_absent_from_the_batch_term(cells, form):
    z, label, batch = (torch.tensor(part) for part in cells)
    batch = torch.where(torch.arange(37) % 4 == 1, -1, batch)
    known = batch >= 0
    weight = torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=torch.float64)
    similarity = exponential_similarity(cosines(z), 0.5)
    value, skipped = batch_mixing(similarity, label, batch, weight, form)
    wanted, wanted_skipped = batch_mixing(similarity[known][:, known], label[known], batch[known], weight, form)
    assert float(value) == pytest.approx(float(wanted), rel=1e-12)
    assert int(skipped) == int(wanted_skipped) + int((~known).sum())


@pytest.mark.parametrize(("n_own", "n_other"), [(5, 3), (2, 9)])
def test_batch_term_of_mixed_batches_in_closed_form(n_own, n_other):
    # All cells in one place: r is a matter of counts alone.
    batch = torch.tensor([0] * n_own + [1] * n_other)
    n = n_own + n_other
    similarity = exponential_similarity(torch.ones(n, n, dtype=torch.float64), 0.5)
    weight = torch.tensor([1.0, 0.0], dtype=torch.float64)
    label = torch.zeros(n, dtype=torch.int64)
    inverse, _ = batch_mixing(similarity, label, batch, weight, "inverse")
    assert float(inverse) == pytest.approx(-1 / math.log((n_own - 1) / (n - 1)), rel=1e-12)
    bounded, _ = batch_mixing(similarity, label, batch, weight, "bounded")
    assert float(bounded) == pytest.approx(0, abs=1e-12)


def test_thesis_weights_sum_to_one_and_rare_types_weigh_more():
    weight = class_weights(torch.tensor([768, 2, 50]), "thesis")
    assert float(weight.sum()) == pytest.approx(1)
    wanted = np.array([1 / 768, 1 / 2, 1 / 50])
    assert weight.tolist() == pytest.approx((wanted / wanted.sum()).tolist(), rel=1e-6)


def test_a_type_without_training_cells_has_no_thesis_weight():
    assert class_weights(torch.tensor([3, 0, 1]), "thesis").tolist() == pytest.approx([0.25, 0, 0.75])
    assert class_weights(torch.tensor([0, 0]), "thesis").tolist() == [0, 0]


@pytest.mark.parametrize("case", [0, 1, 2])
def test_full_loss_matches_the_authors_code(case):
    with np.load(FIXTURE, allow_pickle=False) as file:
        part = {name[:-1]: file[name] for name in file if name.endswith(str(case))}
    z = torch.tensor(part["z"], requires_grad=True)
    label, batch = torch.tensor(part["label"]), torch.tensor(part["batch"])
    reference = torch.tensor(part["reference_distance"], dtype=torch.float32)
    type_count = torch.bincount(torch.tensor(part["train_label"]), minlength=len(reference))
    batch_count = torch.bincount(torch.tensor(part["train_batch"]))
    similarity = cosines(z)
    type_term, _ = soft_nearest_neighbour(
        exponential_similarity(similarity, 0.25), label, class_weights(type_count, "thesis")
    )
    batch_term, _ = batch_mixing(
        exponential_similarity(similarity, 0.5), label, batch, class_weights(batch_count, "thesis"), "inverse"
    )
    loss = 0.9 * type_term + 0.1 * batch_term + centroid(z, label, reference)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(float(part["loss"]), rel=1e-5)
    np.testing.assert_allclose(z.grad.numpy(), part["gradient"], rtol=1e-5, atol=1e-7)


DEGENERATE = {
    "no cell": ([], []),
    "one cell": ([0], [0]),
    "one type": ([1, 1, 1, 1], [0, 1, 0, 1]),
    "no type twice": ([0, 1, 2], [0, 0, 1]),
    "one batch": ([0, 0, 1, 1], [1, 1, 1, 1]),
    "every cell its own batch": ([0, 0, 0], [0, 1, 2]),
}


@pytest.mark.parametrize("name", DEGENERATE)
@pytest.mark.parametrize("place", ["apart", "in one place", "at the origin"])
@pytest.mark.parametrize("form", ["inverse", "bounded"])
def test_degenerate_minibatches_are_finite_with_finite_gradients(name, place, form):
    label, batch = (torch.tensor(codes, dtype=torch.int64) for codes in DEGENERATE[name])
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(len(label), 5, generator=generator)
    if place != "apart":
        z = torch.full_like(z, 0.0 if place == "at the origin" else 1.5)
    z.requires_grad_()
    cosine = cosines(z)
    uniform = torch.full((3,), 1 / 3)
    type_term, type_skipped = soft_nearest_neighbour(exponential_similarity(cosine, 0.1), label, uniform)
    batch_term, batch_skipped = batch_mixing(exponential_similarity(cosine, 0.5), label, batch, uniform, form)
    total = type_term + batch_term + centroid(z, label, torch.ones(3, 3))
    total.backward()
    assert torch.isfinite(total)
    assert torch.isfinite(z.grad).all()
    alone = [(label == own).sum() < 2 for own in label]
    assert int(type_skipped) == sum(map(bool, alone))
    if name in ("one batch", "every cell its own batch", "no type twice", "one cell"):
        assert int(batch_skipped) == len(label)
        assert batch_term.item() == 0


def test_separated_batches_cost_more_than_mixed_ones():
    generator = torch.Generator().manual_seed(1)
    batch = torch.tensor([0, 1] * 30)
    label = torch.zeros(60, dtype=torch.int64)
    mixed = torch.randn(60, 8, generator=generator)
    apart = mixed + 6 * torch.nn.functional.one_hot(batch, 8)
    weight = torch.full((2,), 0.5)
    for form in ("inverse", "bounded"):
        costs = [
            float(batch_mixing(exponential_similarity(cosines(z), 0.5), label, batch, weight, form)[0])
            for z in (mixed, apart)
        ]
        assert costs[1] > 1.5 * costs[0]


@pytest.mark.parametrize("form", ["inverse", "bounded"])
@pytest.mark.parametrize("weights", ["uniform", "thesis"])
def test_model_1_minimises_2_17_with_the_weights_of_2_15(cells, weights, form):
    _, label, batch = cells
    names = {"label_names": tuple("ABCDEF"), "batch_names": tuple("wxyz"), "genes": tuple("abcdefgh")}
    model = Cellular(CellularConfig(**names, mean_total=1.0, n_latent=5, weights=weights, batch_term=form)).eval()
    counts, batch_counts = [50, 30, 20, 9, 3, 1], [40, 3, 9, 7]
    reference = np.abs(np.random.default_rng(9).normal(size=(6, 6)).astype(np.float32))
    reference = reference + reference.T
    np.fill_diagonal(reference, 0)
    model.type_count.copy_(torch.tensor(counts))
    model.batch_count.copy_(torch.tensor(batch_counts))
    model.reference.copy_(torch.tensor(reference))
    x = torch.rand(37, 8, generator=torch.Generator().manual_seed(5))
    minibatch = Minibatch(x, torch.tensor(label), torch.tensor(batch), torch.arange(37), torch.ones(37))
    losses = model.losses(minibatch, model.stages[0])
    z = model.encoder(x).detach().double().numpy()
    w_type, w_batch = (
        [1 / len(n)] * len(n) if weights == "uniform" else [(1 / k) / sum(1 / j for j in n) for k in n]
        for n in (counts, batch_counts)
    )
    by_type, skipped = slow_type_loss(z, label, w_type, 0.25)
    by_batch, batch_skipped = slow_batch_loss(z, label, batch, w_batch, 0.5, form)
    wanted = 0.9 * by_type + 0.1 * by_batch + slow_centroid_loss(z, label, reference)
    assert losses.total.item() == pytest.approx(wanted, rel=1e-4)
    assert losses.diagnostics["type_skipped"].item() == skipped
    assert losses.diagnostics["batch_skipped"].item() == batch_skipped
