"""The command line: one module for each family of commands. Only these modules print."""
