"""The real drivers, unmodified, on emulated devices."""
