"""The test bench: what must hold when processes are killed, disks damaged or full, and inputs bad (`make trust`)."""
