"""Experiments: what a model version achieves, offline on hidden plays or online on people."""
