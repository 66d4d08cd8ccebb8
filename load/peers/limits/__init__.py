"""What cannot be undercut: bare sockets, a bare ASGI function, the disk."""
