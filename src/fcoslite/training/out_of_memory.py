"""Running out of the accelerator's memory: how it is recognised, and the batch halved."""

from fcoslite.config.settings import Settings
from fcoslite.errors import RunError


def out_of_memory(error: BaseException) -> bool:
    """Whether an error of TensorFlow or JAX says that the accelerator's memory was too small."""
    # by name: only the backend at work is imported
    name = type(error).__name__
    return name == "ResourceExhaustedError" or (name.endswith("RuntimeError") and "RESOURCE_EXHAUSTED" in str(error))


def halve_batch(settings: Settings, devices: int = 1) -> Settings:
    """Half the images per step and twice the steps per update: the same updates in less memory.

    Args:
        settings: Of the run.
        devices: That every batch is cut into equal parts for.

    Raises:
        RunError: The batch cannot be halved.
    """
    compute = settings.compute
    if compute.batch_size % (2 * devices):
        of = f"a batch of {compute.batch_size}" if devices == 1 else f"{compute.batch_size // devices} images each"
        raise RunError(
            f"the accelerator's memory is too small for {of} at {settings.model.image_size} pixels",
            "lower model.image_size, or take a smaller model.preset",
        )
    update = {"batch_size": compute.batch_size // 2, "accumulation": compute.accumulation * 2}
    schedules = {
        name: schedule.model_copy(
            update={
                "warmup_steps": schedule.warmup_steps * 2,
                "steps_per_epoch": schedule.steps_per_epoch and schedule.steps_per_epoch * 2,
            }
        )
        for name, schedule in (("train", settings.train), ("finetune", settings.finetune))
    }
    return settings.model_copy(update={"compute": compute.model_copy(update=update), **schedules})
