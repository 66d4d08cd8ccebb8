"""PURE: keys of the ASGI scope that hand a request's context to tools, which run outside it."""

TRACE = "muster.traceparent"  # the request's traceparent header, a str
GONE = "muster.gone"  # an asyncio.Event, set when the client has hung up
