"""Validation, estimation and editing (VEE): from raw readings to intervals with a quality."""
