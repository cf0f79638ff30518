"""Making the meter agree with a reference: what is observed, when it counts, how sure it is."""
