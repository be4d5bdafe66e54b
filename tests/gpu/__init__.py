"""Tests for a machine with an accelerator (`scripts/gpu_check.sh`); on a CPU they run in a small form."""
