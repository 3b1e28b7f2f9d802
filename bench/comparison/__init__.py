"""hoist beside its peers: the parts of bench/run."""
