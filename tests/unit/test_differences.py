# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The test that tells distributions apart does so, and does not where there is one."""

from __future__ import annotations

import random

import pytest

from tests.support.differences import kolmogorov_smirnov, without

SEED = 7


def test_one_distribution_is_one() -> None:
    """Of 200 pairs from one distribution about one in a hundred falls below 0.01."""
    choice = random.Random(SEED)

    def sample() -> list[float]:
        return [choice.lognormvariate(0, 1) for _ in range(300)]

    low = sum(kolmogorov_smirnov(sample(), sample()) < 0.01 for _ in range(200))

    assert low <= 8


@pytest.mark.parametrize("shift", [0.3, -0.3])
def test_a_shift_is_seen(shift: float) -> None:
    """A third of the spread is enough with a thousand values each."""
    choice = random.Random(SEED)
    first = [choice.gauss(0, 1) for _ in range(1000)]
    second = [choice.gauss(shift, 1) for _ in range(1000)]

    assert kolmogorov_smirnov(first, second) < 0.001


def test_known_values() -> None:
    """Equal samples, samples that share nothing, and one from the literature.

    D = 0.5 with ten values each is p = 0.11 by this approximation (0.168 exactly).
    """
    ten = [float(value) for value in range(10)]

    assert kolmogorov_smirnov(ten, ten) == 1.0
    assert kolmogorov_smirnov(ten, [value + 100 for value in ten]) < 0.0001
    assert kolmogorov_smirnov(ten, [value + 4.5 for value in ten]) == pytest.approx(0.11, abs=0.04)


def test_longer_secrets_are_replaced_first() -> None:
    """One that is part of another leaves nothing of it behind."""
    assert without("a-secret-b a-secret", {"a-secret": "X", "a-secret-b": "Y"}) == "Y X"
