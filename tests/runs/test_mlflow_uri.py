"""An address of MLflow with a password is refused, wherever it comes from, and never shown."""

import json
from pathlib import Path

import pytest

from fcoslite.cli.app import run as fcoslite
from fcoslite.config.load import load_settings
from fcoslite.errors import ConfigError
from fcoslite.runs.mlflow_uri import refuse_password
from fcoslite.runs.run import create_run
from fcoslite.runs.summary import details

URI = "https://me:geheim@host:5000"


@pytest.mark.parametrize(
    "uri",
    [
        URI,
        "http://geheim@host",
        "http://me:ge/geheim@host",
        "http://me:ge#geheim?@host/path",
        "HTTP://me:geheim@[::1]:5000",
        "me:geheim@host:5000",
        "http:/me:geheim@host",
        "http:///me:geheim@host",
        "postgresql://me:geheim@host/mlflow",
        "mysql+pymysql://me:ge/geheim@host:3306/mlflow",
        "postgresql://me@host/mlflow?sslmode=require&password=geheim",
        "https://host/?access_token=geheim",
    ],
)
def test_what_holds_a_password_is_refused(uri: str) -> None:
    with pytest.raises(ConfigError) as caught:
        refuse_password(uri)
    assert "geheim" not in caught.value.message + caught.value.hint
    assert "MLFLOW_TRACKING_USERNAME" in caught.value.hint and "MLFLOW_TRACKING_PASSWORD" in caught.value.hint


@pytest.mark.parametrize(
    "uri",
    [
        "sqlite:///mlflow.db",
        "sqlite:////home/me@work/ml:flow.db",
        "file:///home/me@work/mlruns",
        "file:/home/me@work/ml:runs",
        "mlruns",
        "/home/me:you@work/mlruns",
        "C:\\Users\\me@work\\mlruns",
        "C:/Users/me@work/mlruns",
        "http://localhost:5000",
        "https://[::1]:5000/mlflow",
        "postgresql://me@host/mlflow",
        "databricks://profile",
    ],
)
def test_other_addresses_are_taken(uri: str) -> None:
    refuse_password(uri)


def _told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = fcoslite([*arguments])
    out, err = capsys.readouterr()
    return code, out + err


@pytest.mark.parametrize("verb", ["train", "finetune"])
@pytest.mark.parametrize("place", ["flag", "set", "file"])
def test_before_a_run_exists(
    verb: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(f"extends: smoke\nworkspace: {{mlflow_uri: '{URI}'}}\n")
    words = {
        "flag": ["--mlflow-uri", URI],
        "set": ["--set", f"workspace.mlflow_uri={URI}"],
        "file": ["--config", "mine.yaml"],
    }
    for more in ([], ["--dry-run"], ["--debug"]):
        code, told = _told(capsys, verb, "--data", "absent", *words[place], *more)
        assert code == 2 and "MLFLOW_TRACKING_USERNAME" in told and "https://host:5000" in told
        assert "geheim" not in told
    assert [path.name for path in tmp_path.rglob("*")] == ["mine.yaml"]


@pytest.mark.parametrize(
    "override",
    [
        f"workspace.mlflow_url={URI}",
        f"workspace.mlflow_uri:{URI}",
        f"workspace={URI}",
        f"workspace=[{URI}]",
        f"workspace={{mlflow_uri: '{URI}', run: runs}}",
        f"workspace.mlflow_uri=[{URI}",
        f'workspace.mlflow_uri="{URI}\\n"',
        f"workspace.mlflow_uri={URI}{'/x' * 1000}",
        f"{URI}=5",
    ],
)
def test_a_wrong_setting_does_not_tell_it_either(override: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings("smoke", [override])
    assert "geheim" not in caught.value.message + caught.value.hint
    if not override.startswith("https"):
        key, _, value = override.partition("=")
        (tmp_path / "mine.yaml").write_text(f"{key.replace('workspace.', 'workspace: {')}: {value}}}")
        with pytest.raises(ConfigError) as caught:
            load_settings(tmp_path / "mine.yaml")
        assert "geheim" not in caught.value.message + caught.value.hint


def test_no_run_is_written_with_it_and_an_old_one_does_not_show_it(tmp_path: Path) -> None:
    settings = load_settings("smoke", ["workspace.mlflow_uri=http://host"])
    secret = settings.model_copy(update={"workspace": settings.workspace.model_copy(update={"mlflow_uri": URI})})
    with pytest.raises(ConfigError, match="holds a user or password"):
        create_run(tmp_path, "train", "smoke", secret, {})
    assert list(tmp_path.iterdir()) == []
    run = create_run(tmp_path, "train", "smoke", settings, {"records": "records"})
    config = run.path / "config.yaml"
    config.write_text(config.read_text().replace("http://host", URI))
    assert "geheim" not in json.dumps(details(run).changed) and "https://host:5000" in json.dumps(details(run).changed)
    with pytest.raises(ConfigError, match="holds a user or password"):
        run.write_settings(run.settings())
