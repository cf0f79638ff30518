"""The 16x4 display: what it says, and the chips it says it on."""
