"""HTTP/1.1 with nothing above it: what no program that speaks it through asyncio can undercut."""
