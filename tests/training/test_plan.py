"""What may stand beside --resume."""

from fcoslite.runs import create_run


def test_flags_beside_resume_must_say_what_the_run_has(slim, tmp_path):
    # what the data, the weights and the memory decide is no difference
    model = slim.model.model_copy(update={"classes": ("person",), "image_size": 32})
    compute = slim.compute.model_copy(update={"batch_size": 2, "accumulation": 6})
    run_settings = slim.model_copy(update={"model": model, "compute": compute})
    run = create_run(tmp_path, "train", "x", run_settings, {})
    assert run.differences(slim) == {}
    longer = slim.model_copy(update={"train": slim.train.model_copy(update={"epochs": 77}), "seed": 5})
    assert run.differences(longer) == {"train.epochs": (77, slim.train.epochs), "seed": (5, slim.seed)}
    other = slim.model_copy(update={"model": slim.model.model_copy(update={"head_depth": 4})})
    assert run.differences(other) == {"model.head_depth": (4, 1)}
    assert create_run(tmp_path, "finetune", "x", run_settings, {}).differences(other) == {}
