"""Which differences between modules are significant: over seeds (`dunnett`), or over clips (`difference`)."""

from collections.abc import Mapping, Sequence
from statistics import NormalDist, fmean, variance
from typing import NamedTuple

import numpy as np

CHANCE = 0.05
DRAWS = 100_000
RESAMPLES = 20_000
POWER = 0.8


class Apart(NamedTuple):
    """Difference between a row and its reference row."""

    mean: float
    margin: float
    """Half the width of the simultaneous confidence interval, in points."""

    @property
    def significant(self) -> bool:
        return abs(self.mean) > self.margin


def dunnett(
    rows: Sequence[Mapping[int, float]], references: Sequence[int | None], *, chance: float = CHANCE
) -> list[Apart | None]:
    """Compare each row with its reference row, and take into account that there are several comparisons.

    This is Dunnett's test ("A multiple comparison procedure for comparing several treatments with a control",
    JASA 1955). It uses one pooled variance for all rows, and one bound for all differences. The bound is
    found by simulation.

    Args:
        rows: for each row, seed → value.
        references: for each row, the index of the row to compare it with on their common seeds; None for no
            comparison.
        chance: probability that at least one difference exceeds the bound if no row truly differs.

    Returns:
        None for a row without a reference, or without a seed in common with it; None for all rows if no row
        has two seeds.
    """
    degrees = sum(len(row) - 1 for row in rows)
    if degrees < 1:
        return [None] * len(rows)
    pooled = sum(variance(row.values()) * (len(row) - 1) for row in rows if len(row) > 1) / degrees
    generator = np.random.default_rng(0)
    drawn = [generator.standard_normal((DRAWS, len(row)), dtype=np.float32) for row in rows]
    spreads = np.sqrt(generator.chisquare(degrees, DRAWS) / degrees)
    highest, found = np.zeros(DRAWS), {}
    for place, reference in enumerate(references):
        if reference is None or not (seeds := rows[place].keys() & rows[reference].keys()):
            continue
        own, other = (drawn[row][:, _places(rows[row], seeds)].mean(1) for row in (place, reference))
        errors = (2 / len(seeds)) ** 0.5
        highest = np.maximum(highest, np.abs(own - other) / errors / spreads)
        found[place] = fmean(rows[place][seed] - rows[reference][seed] for seed in seeds), errors
    bound = float(np.quantile(highest, 1 - chance)) * pooled**0.5
    apart = {place: Apart(mean, bound * errors) for place, (mean, errors) in found.items()}
    return [apart.get(place) for place in range(len(rows))]


def told_apart(rows: Sequence[Mapping[int, float]], references: Sequence[int | None]) -> list[bool]:
    """Return for each row whether it differs significantly from its reference row; see `dunnett`."""
    return [apart is not None and apart.significant for apart in dunnett(rows, references)]


class Difference(NamedTuple):
    """Difference of the accuracies of two modules, in points."""

    mean: float
    low: float
    high: float
    """Bounds of the 95 % interval, corrected for the number of comparisons."""
    smallest: float
    """Smallest true difference that this comparison finds significant with a probability of 80 %."""

    @property
    def significant(self) -> bool:
        return self.low > 0 or self.high < 0


def difference(
    own: np.ndarray, other: np.ndarray, groups: Sequence[str], *, comparisons: int = 1
) -> Difference:
    """Compare two modules on the same clips, and take into account that clips of a group are alike.

    The interval comes from resampling the groups and the seeds, 20,000 times (a bootstrap of clusters).

    Args:
        own: whether each answer is right, [seeds, clips].
        other: the same for the other module, on the same seeds and clips.
        groups: group of each clip.
        comparisons: number of comparisons that are made. All their intervals together cover the true
            differences with a probability of at least 95 % (Bonferroni's correction).
    """
    generator = np.random.default_rng(0)
    names, members = np.unique(groups, return_inverse=True)
    each = 100 * (own.astype(float) - other)  # [seeds, clips]
    sums = np.stack([np.bincount(members, row, len(names)) for row in each])  # [seeds, groups]
    sizes = np.bincount(members, minlength=len(names))
    # How often each group, and each seed, is drawn in each resample.
    often = generator.multinomial(len(names), np.full(len(names), 1 / len(names)), RESAMPLES)
    seeds = generator.multinomial(len(each), np.full(len(each), 1 / len(each)), RESAMPLES)
    found = (often @ sums.T * seeds).sum(1) / (often @ sizes) / len(each)
    chance = CHANCE / comparisons / 2
    low, high = np.quantile(found, [chance, 1 - chance])
    errors = NormalDist().inv_cdf(1 - chance) + NormalDist().inv_cdf(POWER)
    return Difference(float(each.mean()), float(low), float(high), errors * float(found.std()))


def spread(values: Sequence[float], *, sign: str = "") -> str:
    """Format values as mean ± standard deviation; return an empty string if there are no values."""
    deviation = f" ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else ""  # `stdev` rejects nan
    return f"{fmean(values):{sign}.1f}{deviation}" if values else ""


def _places(row: Mapping[int, float], seeds: set[int]) -> list[int]:
    return [place for place, seed in enumerate(row) if seed in seeds]
