"""Values and decisions. Standard library only; time, randomness and I/O are passed in."""
