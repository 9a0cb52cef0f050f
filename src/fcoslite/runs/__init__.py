"""Run directories: what they hold, what they have come to, and their copy in MLflow."""
