"""Ways to make a map, one kind a file; `saliency.methods` has all of them under one signature."""
