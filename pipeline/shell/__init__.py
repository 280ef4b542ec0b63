"""The command line, and the documentation made from the code."""
