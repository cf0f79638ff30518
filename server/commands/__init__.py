"""The commands of ``meterd-server``, a file for each of the things they are about."""
