"""What can be asked for, as frozen dataclasses, apart from what does it: a command line is read without JAX."""
