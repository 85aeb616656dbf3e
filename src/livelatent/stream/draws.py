"""Which of its candidates the steps of a group draw: K labels, M cells of each, batches spread within a label.

All of a group's steps are drawn at once, from one Philox stream that is the group's own: they share the permutations
of its cells, so a step can't be had without those before it, and all of them cost less than reading one of its cells.
"""

from dataclasses import dataclass

import numpy as np

from livelatent.arrays import Float, Int, ndarray
from livelatent.compiled import compiled
from livelatent.stream.plan import StreamConfig


@dataclass(frozen=True)
class GroupDraws:
    """The cells that the steps of one group draw."""

    position: Int[ndarray, " drawn"]
    """Among the group's candidates, step after step; no step has one twice."""
    stop: Int[ndarray, " step"]
    """Where in `position` each step ends."""
    asked: Int[ndarray, " label"]
    """Cells that each label was to give as one of the K drawn, over all steps."""
    given: Int[ndarray, " label"]
    """How many of those it gave. Others fill the rest, so that minibatches keep their size."""

    def step(self, number: int) -> Int[ndarray, " cell"]:
        """Positions of the group's step `number`, from 0; none where the group has no cell with a label."""
        return self.position[self.stop[number - 1] if number else 0 : self.stop[number]]


def draw_group(
    label: Int[ndarray, " candidate"],
    batch: Int[ndarray, " candidate"],
    n_own: int,
    n_cells: Int[ndarray, " label"],
    config: StreamConfig,
    key: tuple[int, int],
    n_steps: int,
    world: int = 1,
) -> GroupDraws:
    """Draw the minibatches of one group.

    A step puts the labels that have enough candidates in a random order, by weight, and takes M cells of each of
    the first K. Enough are M, or all there are (in a rank's share of the atlas). With fewer than K such labels these
    share the minibatch. What a label lacks comes from the next in the order, and at last from whichever has cells left.

    A label's cells are shared out among its batches by weight, and a batch gives the cells of this group before those
    of earlier ones, either in random order, none again before all have been taken.

    Parameters
    ----------
    label, batch
        Codes of the cells at hand: the group's own, and behind them those carried from earlier groups. A label of -1
        is none; a batch of -1 is one of its own.
    n_own
        How many are the group's own.
    n_cells
        Cells of each label that the stream has, in all groups and ranks; no code in `label` lies beyond.
    key
        The group's own.
    """
    balance = config.balance
    assert balance is not None
    m_cells = config.minibatch_cells // balance.types
    n_slots = balance.types * m_cells
    order, segment_start, first_segment = _segments(label, batch, len(n_cells))
    n_at_hand = np.diff(segment_start[first_segment])
    segment_cells = np.diff(segment_start)
    own_cells = np.add.reduceat(np.append(order < n_own, 0), segment_start)[:-1]

    # The plan counts this key's stream up from 0, the draws from 2**192.
    random = np.random.Generator(np.random.Philox(key=np.array(key, np.uint64), counter=[0, 0, 0, 1]))
    enough = np.clip(n_cells // world, 1, m_cells)
    turn = _turns(random.random((n_steps, len(n_cells))), n_cells, n_at_hand, enough, balance.temperature)
    n_present = int(np.count_nonzero(n_at_hand))
    n_chosen = min(balance.types, int(np.count_nonzero(n_at_hand >= enough)) or n_present)
    most, n_with_one_more = divmod(n_slots, max(n_chosen, 1))
    quota = np.full(n_present, m_cells)
    quota[:n_chosen] = most + (np.arange(n_chosen) < n_with_one_more)
    share = np.zeros_like(turn)
    compiled(_share_slots)(turn, n_at_hand, quota, n_slots, share)

    visited = share > 0
    code, wanted = turn[visited], share[visited]
    part = np.zeros(np.diff(first_segment)[code].sum(), np.int64)
    weight = segment_cells**balance.temperature
    compiled(_share_batches)(code, wanted, first_segment, segment_cells, weight, random.random(len(code)), part)
    position = np.empty(wanted.sum(), np.int64)
    compiled(_draw_cells)(
        code, part, first_segment, segment_start, own_cells, random.random(len(position)), order, position
    )
    chosen, asked = turn[:, :n_chosen], np.broadcast_to(quota[:n_chosen], (n_steps, n_chosen))
    given = np.minimum(share[:, :n_chosen], asked)
    return GroupDraws(
        position=position,
        stop=np.cumsum(share.sum(axis=1)),
        asked=np.bincount(chosen.ravel(), asked.ravel(), len(n_cells)).astype(np.int64),
        given=np.bincount(chosen.ravel(), given.ravel(), len(n_cells)).astype(np.int64),
    )


def _segments(
    label: Int[ndarray, " candidate"], batch: Int[ndarray, " candidate"], n_labels: int
) -> tuple[Int[ndarray, " labelled"], Int[ndarray, " bound"], Int[ndarray, " bound"]]:
    """Labelled candidates by label and batch, else as they come; where each segment of one label and one batch
    begins among them; and with which segment each label begins.
    """
    n_batches = int(batch.max(initial=0)) + 2  # with -1
    both = label.astype(np.int64) * n_batches + batch + 1
    # Cells without a label are negative, so that as unsigned numbers they come last.
    if (n_labels + 1) * n_batches <= 2**16:
        order = _sort(both)
    else:
        order = _sort(batch + 1)
        order = order[_sort(label[order])]
    order = order[: np.count_nonzero(label >= 0)]
    both = both[order]
    begins = np.flatnonzero(np.diff(both, prepend=-1))
    first_segment = np.searchsorted(both[begins], np.arange(n_labels + 1) * n_batches)
    return order, np.append(begins, len(order)), first_segment


def _sort(codes: Int[ndarray, " cell"]) -> Int[ndarray, " cell"]:
    # numpy sorts 16 bits by radix, at 5 ns a cell; 64 bits take 50.
    n_codes = int(codes.max(initial=0)) + 2
    return np.argsort(codes.astype(np.uint16 if n_codes <= 2**16 else np.uint64), kind="stable")


def _turns(
    uniform: Float[ndarray, "step label"],
    n_cells: Int[ndarray, " label"],
    n_at_hand: Int[ndarray, " label"],
    enough: Int[ndarray, " label"],
    temperature: float,
) -> Int[ndarray, "step label"]:
    """Each step's labels in their turn: at random by weight, but without enough cells late, and without any last."""
    # Weighted, without replacement: the arrivals of exponential clocks, whose rates are the weights.
    arrival = -np.log1p(-uniform) / np.maximum(n_cells, 1) ** temperature
    # No clock runs for longer than 37: 53 bits are in a uniform number, and no rate is below 1.
    arrival += np.where(n_at_hand == 0, 200.0, np.where(n_at_hand < enough, 100.0, 0.0))
    return np.argsort(arrival, axis=1, kind="stable")


def _share_slots(turn: ndarray, n_at_hand: ndarray, quota: ndarray, n_slots: int, share: ndarray) -> None:
    """How many cells each label gives in its turn: up to its quota, then what is still wanted as evenly as can be."""
    for step in range(turn.shape[0]):
        left = n_slots
        for i in range(quota.size):
            share[step, i] = min(quota[i], left, n_at_hand[turn[step, i]])
            left -= share[step, i]
        while left > 0:
            n_with_more = 0
            for i in range(quota.size):
                n_with_more += n_at_hand[turn[step, i]] > share[step, i]
            if n_with_more == 0:
                break
            each = max(left // n_with_more, 1)
            for i in range(quota.size):
                more = min(each, left, n_at_hand[turn[step, i]] - share[step, i])
                share[step, i] += more
                left -= more


def _share_batches(
    code: ndarray,
    wanted: ndarray,
    first_segment: ndarray,
    segment_cells: ndarray,
    weight: ndarray,
    offset: ndarray,
    part: ndarray,
) -> None:
    """How many of the cells that each label in turn gives come from each of its segments."""
    at = 0
    for visit in range(code.size):
        first, last = first_segment[code[visit]], first_segment[code[visit] + 1]
        left, weight_left = wanted[visit], 0.0
        for segment in range(first, last):
            weight_left += weight[segment]

        # A batch whose share is more than it has gives all of it, which raises the share of the others.
        went_on = True
        while went_on and left > 0:
            went_on = False
            for segment in range(first, last):
                k = at + segment - first
                if part[k] == 0 and left * weight[segment] >= segment_cells[segment] * weight_left:
                    part[k] = segment_cells[segment]
                    left -= part[k]
                    weight_left -= weight[segment]
                    went_on = True

        # The others round up or down by one random offset (systematic sampling), and meet the sum.
        reach, reached, shared = offset[visit], 0, left
        for segment in range(first, last):
            k = at + segment - first
            if part[k] == 0 and shared > 0:
                reach += shared * weight[segment] / weight_left
                part[k] = min(int(reach) - reached, segment_cells[segment], left)
                left -= part[k]
                reached = int(reach)
        # Nothing is left, or one cell where that sum fell short by a rounding error.
        for segment in range(first, last):
            k = at + segment - first
            more = min(left, segment_cells[segment] - part[k])
            part[k] += more
            left -= more
        at += last - first


def _draw_cells(
    code: ndarray,
    part: ndarray,
    first_segment: ndarray,
    segment_start: ndarray,
    own_cells: ndarray,
    uniform: ndarray,
    order: ndarray,
    position: ndarray,
) -> None:
    """Take each segment's part of its cells, going round; permutes `order` as far as it is used."""
    n_taken = np.zeros(own_cells.size, np.int64)
    done = at = 0
    for visit in range(code.size):
        for segment in range(first_segment[code[visit]], first_segment[code[visit] + 1]):
            start, stop = segment_start[segment], segment_start[segment + 1]
            n_own = own_cells[segment]
            for _ in range(part[at]):
                k = n_taken[segment] % (stop - start)
                if n_taken[segment] < stop - start:
                    # Any of those not yet taken: of the group's own cells first, then of the carried ones.
                    n_open = n_own - k if k < n_own else stop - start - k
                    other = k + int(uniform[done] * n_open)
                    order[start + k], order[start + other] = order[start + other], order[start + k]
                position[done] = order[start + k]
                n_taken[segment] += 1
                done += 1
            at += 1
