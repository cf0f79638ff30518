"""The record as evidence: rows that are chained, signed, checked and handed out."""
