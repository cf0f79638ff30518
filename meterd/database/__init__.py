"""How the meter's SQLite files are opened, and the small one that meterd-sync writes."""
