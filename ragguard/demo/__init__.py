"""The demonstration: a small corpus of our own, poisoned, and what each defense makes of it."""
