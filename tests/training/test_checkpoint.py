"""A state file is whole or refused, and its place in the data survives a smaller batch."""

from hypothesis import given
from hypothesis import strategies as st

from fcoslite.training.checkpoint import Position


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
