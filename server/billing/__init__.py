"""From readings to bills: periods, registers at their ends, the run that closes bills."""
