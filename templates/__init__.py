"""Complete beginnings of a defense, a signal and an attack, with the tests of their contracts."""
