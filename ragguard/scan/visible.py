"""Hostile text for human eyes."""

from __future__ import annotations


def visible(text: str) -> str:
    """A text with the names of characters that show nothing or turn others around; nothing of it steers a terminal."""
    return "".join(char if char.isprintable() or char in "\n\t" else f"[U+{ord(char):04X}]" for char in text)
