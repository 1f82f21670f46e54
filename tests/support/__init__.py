"""Real parts for tests and benchmarks: an LLM server, a kernel, small crews."""
