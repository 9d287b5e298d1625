"""The commands of `python -m stylewire`, one module for each family. They print; the library does not."""
