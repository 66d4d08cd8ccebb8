"""What the calls of a run tell: rates, the knee, and which setting moves it."""
