"""Engines: who runs the parts of an extraction."""
