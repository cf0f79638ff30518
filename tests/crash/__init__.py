"""What really happens to a meter in a box: killed, cut off, full, failing, misdated, offline."""
