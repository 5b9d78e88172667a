"""What turns raw model outputs and counts into signals that may be weighed against each other."""
