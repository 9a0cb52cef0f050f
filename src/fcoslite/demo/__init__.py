"""The whole pipeline on embedded photographs."""
