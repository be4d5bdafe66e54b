"""The parts of `python -m scripts.benchmark gpu`: what a machine with an accelerator is asked once it can be had."""
