"""Where the researcher looks: one file a provider, and the local index."""
