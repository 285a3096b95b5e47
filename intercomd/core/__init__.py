"""The pure core: reducers without clock, randomness, threads or input and output."""
