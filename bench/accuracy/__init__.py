"""How accurate the meter is: seeded signals, the standards' load points, other meters beside it."""
