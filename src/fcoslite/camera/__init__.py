"""One's own camera over time: frames worth learning from, with the time at which they were taken."""
