"""How large a rate may truly be, of which a few errors among so many parts were seen.

Two guarantees are known here. With a confidence, the exact one-sided bound of Clopper and Pearson (Biometrika 26,
1934): in that share of all calibrations the true rate is at most the bound. Without one, the bound of conformal risk
control (Angelopoulos et al., 2022, https://arxiv.org/abs/2208.02814): the true rate is at most the bound in the mean
over calibrations, nearly half of which may exceed it; it asks for fewer parts and promises less.

Both are for independent parts of the same kind as those to come, whatever the distribution of their values.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from scipy.special import betaincinv

from lriad.errors import LriadError

LEVEL = 0.95
"""Of the intervals that are reported."""
SMALLEST_RATE = 1e-9
"""That is promised."""
_MOST = 2**53
"""Parts up to which a number is looked for."""


def upper_bound(errors: int, parts: int, confidence: float | None) -> float:
    """The bound on the true rate of an error that was seen in `errors` of `parts`.

    Args:
        errors: From 0 to `parts`.
        parts: Independent parts, 0 or more.
        confidence: In (0, 1); None for the bound in the mean.
    """
    if confidence is None:
        return (errors + 1) / (parts + 1)
    return 1.0 if errors >= parts else float(betaincinv(errors + 1, parts - errors, confidence))


def interval(errors: int, parts: int) -> tuple[float, float]:
    """The two-sided interval of Clopper and Pearson at `LEVEL`; (0, 1) of no parts."""
    tail = (1 - LEVEL) / 2
    low = 0.0 if errors == 0 else float(betaincinv(errors, parts - errors + 1, tail))
    return low, upper_bound(errors, parts, 1 - tail)


def order_statistic(parts: int, rate: float, confidence: float | None) -> int:
    """Which of the sorted values of so many parts, counted from 1 at the safe end, is the threshold of a promise.

    For misses these are the values of defective parts, ascending: the lower a threshold, the safer it is. For false
    alarms they are those of good parts, descending.

    It is the largest k whose bound at k - 1 errors is at most the rate, 0 where there is none. A threshold at the k-th
    value has k - 1 errors, or fewer where values are equal. That k depends on the number of parts alone and not on
    their values, so that nothing has to be corrected for the choice: the true rate of errors at the k-th of n values
    is distributed as Beta(k, n - k + 1), or lies lower where values are equal (Wilks, Annals of Mathematical
    Statistics 12, 1941). It is at most the rate with the confidence of the bound, and k / (n + 1) in the mean. It is
    also where Learn then Test (Angelopoulos et al., 2021, https://arxiv.org/abs/2110.01052) stops when it tests the
    thresholds in a fixed sequence, the safest first, by binomial p-values.

    Args:
        parts: How many, 0 or more.
        rate: What is promised at most, in (0, 1).
        confidence: In (0, 1); None for a promise in the mean.
    """
    return bisect_right(range(parts), rate, key=lambda errors: upper_bound(errors, parts, confidence))


def images_needed(rate: float, confidence: float | None, errors: int = 0) -> int:
    """The smallest number of parts at which so many errors are few enough for a promise.

    Args:
        rate: What is promised at most, from `SMALLEST_RATE` to below 1.
        confidence: In (0, 1); None for a promise in the mean.
        errors: That may lie beyond the threshold, 0 to a million.

    Raises:
        LriadError: The rate or the confidence is out of its range.

    Example:
        >>> images_needed(0.02, 0.95)
        149
    """
    check_rate("rate", rate)
    if confidence is not None:
        check_share("confidence", confidence)
    needed = range(errors + 1, _MOST)
    return needed[bisect_left(needed, -rate, key=lambda parts: -upper_bound(errors, parts, confidence))]


def check_share(name: str, value: float) -> None:
    """Raise LriadError where a rate or a confidence is no number between 0 and 1."""
    if not 0 < value < 1:
        raise LriadError(f"{name} {value:g}: expected a number between 0 and 1, such as 0.02 for 2 %")


def check_rate(name: str, value: float) -> None:
    """Raise LriadError where a rate cannot be promised."""
    check_share(name, value)
    if value < SMALLEST_RATE:
        raise LriadError(f"{name} {value:g}: expected {SMALLEST_RATE:g} or more, for less no line has parts enough")


def percent(share: float) -> str:
    """A share as texts show it."""
    return f"{100 * share:.3g} %"
