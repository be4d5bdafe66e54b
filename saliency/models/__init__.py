"""A classifier, wherever it comes from: networks with layers, weights, preprocessing and classes; black boxes."""
