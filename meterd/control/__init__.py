"""What the server asks of the meter: verified, recorded, done at most once."""
