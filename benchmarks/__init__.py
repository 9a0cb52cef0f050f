"""One script per stage; `python -m benchmarks` runs them all and makes one table of them."""
