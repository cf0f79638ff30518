"""The utility's own pages: what its clerks and technicians see and change."""
