"""The command line. Each module has one family of commands. Commands print; the rest of the package does not."""
