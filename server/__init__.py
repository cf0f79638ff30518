"""The server: customers, meters and the readings that they are billed by."""
