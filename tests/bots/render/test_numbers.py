"""Numbers as people read them, the same in a sentence, a table and a page."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from bots.render import numbers
from bots.stats import metrics


def test_numbers_are_shown_as_people_read_them() -> None:
    assert numbers.format_value("roc_auc", 0.71234) == "0.712"
    assert numbers.format_value("log_loss", 0.43219) == "0.4322"
    assert numbers.format_value("value", 1.3104) == "1.310"
    assert numbers.format_value("mae", 1234.56) == "1,234.6"
    assert numbers.format_value("mae", None) == "n/a"
    assert numbers.format_difference("roc_auc", 0.0188) == "+0.019"
    assert numbers.format_difference("value", -0.25) == "−0.250"
    assert numbers.format_difference("roc_auc", 0.0) == "0.000"


def test_a_tiny_loss_that_rows_bring_is_not_shown_as_zero() -> None:
    assert numbers.format_value("loss per token", 0.00003) == "3e−05"
    assert numbers.format_difference("loss per token", -2e-7) == "−2e−07"
    assert numbers.format_value("", 0.00003) == "0.000", "a prediction"


@given(st.sampled_from([*sorted(metrics.MEASURES), "NDCG@5"]), st.floats(-1e6, 1e6))
def test_a_difference_that_is_there_is_never_shown_as_zero(name: str, x: float) -> None:
    shown = numbers.format_difference(name, x)
    if abs(x) >= 1e-6:
        assert math.copysign(1, x) == (1 if shown[0] == "+" else -1)
        assert float(shown.replace(",", "").replace("−", "-")) != 0


@given(st.floats(numbers.HUGE, allow_infinity=False), st.booleans())
def test_a_number_of_any_size_fits_a_cell(x: float, negative: bool) -> None:
    for shown in (numbers.format_value("mae", x), numbers.format_difference("mae", -x if negative else x)):
        assert len(shown) <= 12
