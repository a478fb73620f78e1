"""The sidecar: the guard as a small HTTP service, for programs that are not Python."""
