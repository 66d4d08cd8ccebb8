"""Documents read in a separate process, so that a bad document harms only itself."""
