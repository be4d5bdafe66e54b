"""What `scripts.compare` is made of: samples -> maps -> boxes and quality -> report."""
