"""Readers of formats that are not HTML, PDF, Markdown or plain text: each a module with `read(data) -> Document`."""
