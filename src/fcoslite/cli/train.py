"""placeholder."""


def train_command() -> None:
    """Placeholder."""


def finetune_command() -> None:
    """Placeholder."""
