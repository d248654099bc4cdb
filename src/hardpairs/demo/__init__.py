"""Makers of demonstration data: drawings, photographs of them, scenes, tables and a server."""
