"""A mains socket behind an MCP3008, and a display that can be read: for the demo and the tests.

Shipped, so that whoever has no hardware yet can run the whole meter.
"""
