"""One benchmark a module: `Options` and `main(options) -> int`."""
