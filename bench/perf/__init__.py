"""What our own machinery costs: comparisons in one run, interleaved, printed as ratios."""
