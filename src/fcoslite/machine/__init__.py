"""What the machine offers: backend, GPUs, the settings that fit, threads, signals."""
