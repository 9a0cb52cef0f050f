"""A state file is whole or refused, and its place in the data survives a smaller batch."""

from dataclasses import asdict

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fcoslite.errors import RunError
from fcoslite.storage.arrays import write_arrays
from fcoslite.training.checkpoint import Position, load_state


@given(
    images=st.integers(1, 200),
    batch_size=st.sampled_from([2, 4, 8, 16]),
    factor=st.sampled_from([1, 2]),
    data=st.data(),
)
def test_a_place_counted_in_smaller_batches(images, batch_size, factor, data):
    steps, smaller = (max(1, images // size) for size in (batch_size, batch_size // factor))
    step = data.draw(st.integers(0, 5 * steps))
    before = Position(batch_size, steps, step, best_score=0.5, stale=2)
    after = before.in_batches_of(batch_size // factor, smaller)
    epoch, within = divmod(step, steps)
    assert (after.step // smaller, after.step % smaller * after.batch_size) == (epoch, within * batch_size)
    assert (after.best_score, after.stale) == (0.5, 2)
    assert after == before or factor == 2


@pytest.mark.parametrize("change", [{"step": None}, {"step": "7"}, {"step": -1}, {"best_score": []}, {"stale": None}])
def test_a_header_that_does_not_say_where_a_run_stands_is_refused(change, tmp_path):
    header = {"kind": "state", **asdict(Position(4, 10, step=7)), **change}
    if change.get("step", 0) is None:
        del header["step"]
    write_arrays(tmp_path / "state-000000007.npz", {"count00000": np.zeros(())}, header)
    with pytest.raises(RunError, match="does not say where its run stands") as caught:
        load_state(keras.Model(), tmp_path, 4, 10)
    assert "new run" in caught.value.hint
