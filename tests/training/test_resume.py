"""Flags beside --resume: which are taken, and which are refused."""

from pathlib import Path

import pytest
import yaml

from fcoslite.config.settings import Settings
from fcoslite.errors import ConfigError
from fcoslite.runs.run import Run, create_run
from fcoslite.training.resume import settings_to_resume


@pytest.fixture
def run(slim: Settings, tmp_path: Path) -> Run:
    """As it was trained: with the classes and the image size of the data, and a batch that was halved."""
    model = slim.model.model_copy(update={"classes": ("person",), "image_size": 32})
    compute = slim.compute.model_copy(update={"batch_size": 2, "accumulation": 6})
    return create_run(tmp_path, "train", "x", slim.model_copy(update={"model": model, "compute": compute}), {})


@pytest.fixture
def config(slim: Settings, tmp_path: Path) -> str:
    """As it was asked for."""
    (tmp_path / "config.yaml").write_text(slim.to_yaml())
    return str(tmp_path / "config.yaml")


def test_the_same_command_again_is_fine(run: Run, config: str, caplog: pytest.LogCaptureFixture) -> None:
    assert settings_to_resume(run, None, [], {}) == run.settings()
    assert settings_to_resume(run, config, [], {}) == run.settings()
    assert not caplog.text
    again = ["compute.batch_size=4", "model.image_size=64"]
    with caplog.at_level("WARNING"):
        assert settings_to_resume(run, config, again, {}) == run.settings()
    assert "compute.batch_size stays 2" in caplog.text and "model.image_size stays 32" in caplog.text


def test_a_threshold_that_was_written_since_stays(run: Run, config: str) -> None:
    ours = run.settings()
    run.write_settings(ours.model_copy(update={"webcam": ours.webcam.model_copy(update={"score": 0.77})}))
    assert settings_to_resume(run, config, [], {}).webcam.score == 0.77


@pytest.mark.parametrize("named", [True, False])
def test_what_changes_the_result_is_refused(run: Run, config: str, named: bool) -> None:
    with pytest.raises(
        ConfigError, match=r"loss\.focal_gamma is 2\.0, not 1\.5; train\.epochs is \d+, not 77"
    ) as caught:
        settings_to_resume(run, config if named else None, ["loss.focal_gamma=1.5"], {"train.epochs": 77})
    assert "new run" in caught.value.hint
    with pytest.raises(ConfigError, match=r"model\.head_depth is 1, not 4"):
        settings_to_resume(run, config if named else None, ["model.head_depth=4"], {})


@pytest.mark.parametrize("named", [True, False])
def test_what_changes_no_result_is_done(run: Run, config: str, named: bool) -> None:
    values = {"checkpoint_minutes": 3.0, "workspace.mlflow_uri": "http://elsewhere"}
    settings = settings_to_resume(run, config if named else None, ["compute.workers=7", "data.cache_gb=2"], values)
    assert (settings.checkpoint_minutes, settings.compute.workers, settings.data.cache_gb) == (3.0, 7, 2.0)
    assert settings.workspace.mlflow_uri == "http://elsewhere"
    assert settings.compute.batch_size == 2
    assert settings.train == run.settings().train


def test_a_run_of_an_older_version_goes_on_with_the_command_of_its_start(
    run: Run, slim: Settings, config: str, caplog: pytest.LogCaptureFixture
) -> None:
    def older(settings: Settings) -> str:
        """Another name, settings that are none any more, and a large number that means no early stopping."""
        tree = yaml.safe_load(settings.to_yaml())
        tree["name"] = "default"
        tree["train"]["early_stopping_epochs"] = 1000
        tree["augment"] |= {"brightness_probability": 0.5, "noise_probability": 0.5}
        for section in ("evaluate", "webcam"):
            tree[section] |= {"pre_filter": 0.001, "top_k": 1000, "max_detections": 100}
        return yaml.safe_dump(tree, sort_keys=False)

    (run.path / "config.yaml").write_text(older(run.settings()))
    ours = run.settings()
    assert (ours.name, ours.train.early_stopping_epochs) == ("default", 1000)
    today = {"name": "small-data", "train": slim.train.model_copy(update={"early_stopping_epochs": None})}
    for text in (older(slim), slim.model_copy(update=today).to_yaml()):
        Path(config).write_text(text)
        assert settings_to_resume(run, config, [], {}) == ours
    assert settings_to_resume(run, None, ["train.early_stopping_epochs=null"], {}) == ours
    assert not caplog.text
    with pytest.raises(ConfigError, match=r"train\.early_stopping_epochs is 1000, not 7"):
        settings_to_resume(run, None, ["train.early_stopping_epochs=7"], {})


def test_weights_to_fine_tune_bring_their_model(run: Run, config: str, tmp_path: Path) -> None:
    tuned = create_run(tmp_path, "finetune", "x", run.settings(), {})
    assert settings_to_resume(tuned, config, ["model.head_depth=4"], {}) == run.settings()
