"""hoist when things go wrong: the parts of bench/soak."""
