"""Deep-learning frameworks behind one contract."""
