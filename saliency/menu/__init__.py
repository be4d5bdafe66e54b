"""The methods of the menu, a file for each family; `saliency.methods` is the menu itself."""
