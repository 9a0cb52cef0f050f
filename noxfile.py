"""Sessions: `nox --list` tells what each does."""

import json
import os
import shutil
from pathlib import Path

import nox
from nox.command import CommandFailed

nox.options.sessions = ["lint", "types", "tests"]
nox.options.default_venv_backend = "venv"
PYPROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = nox.project.python_versions(PYPROJECT)
TESTS = nox.project.dependency_groups(PYPROJECT, "tests")
LINT = nox.project.dependency_groups(PYPROJECT, "lint")
BROWSER = nox.project.dependency_groups(PYPROJECT, "browser")
DOCS = nox.project.dependency_groups(PYPROJECT, "docs")
READERS = nox.project.dependency_groups(PYPROJECT, "readers")
FUZZ = nox.project.dependency_groups(PYPROJECT, "fuzz")
TWO_AT_A_TIME = ("--numprocesses", "2")  # much of a test is one thread
DEMO_DATA = Path(__file__).parent / "src" / "fcoslite" / "demo" / "photographs"


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """The test suite; arguments after -- go to pytest."""
    session.install(".", *TESTS)
    session.run("pytest", *TWO_AT_A_TIME, "--dist", "worksteal", *session.posargs)


@nox.session
def faults(session: nox.Session) -> None:
    """Kills, full disks, damaged files and other faults, many times over; prints the table of docs/reliability.md."""
    session.install(".", *TESTS)
    lines = Path(session.create_tmp()).resolve() / "faults.jsonl"
    lines.unlink(missing_ok=True)
    lines.touch()
    try:
        options = (*TWO_AT_A_TIME, "--dist", "load", "--maxschedchunk", "1", "-m", "faults")
        session.run("pytest", *options, *session.posargs, env={"FCOSLITE_FAULTS": str(lines)})
    finally:
        print("| fault | times | lost | how it ended |\n|---|---|---|---|")
        for line in map(json.loads, sorted(lines.read_text("utf-8").splitlines())):
            print(f"| {line['fault']} | {line['injected']} | {line['lost']} | {line['ended']} |")


@nox.session
def fuzz(session: nox.Session) -> None:
    """Every target of fuzz/, for ten minutes or the seconds given after --."""
    session.install(".", *FUZZ)
    seconds = session.posargs[0] if session.posargs else "600"
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "OPENCV_LOG_LEVEL": "SILENT"}
    crashed = []
    for target in sorted(Path("fuzz").glob("*.py")):
        [corpus] = Path("fuzz", "corpus").glob(target.stem.partition("_")[0] + "*")
        found = Path(session.create_tmp()).resolve() / target.stem  # what it finds, crashes too
        found.mkdir(exist_ok=True)
        options = (f"-max_total_time={seconds}", f"-artifact_prefix={found}/")
        try:
            session.run("python", str(target), str(found), str(corpus), *options, env=quiet)
        except CommandFailed:
            crashed.append(str(found))
    if crashed:
        session.error(f"crashes, each to become a test, are in {', '.join(crashed)}")


@nox.session
def mutations(session: nox.Session) -> None:
    """10,000 damaged exports of every label format: each is refused with a reason, or read without a silent loss."""
    session.install(".", *TESTS)
    target = "tests/data/formats/test_damaged_exports.py"
    session.run("pytest", *TWO_AT_A_TIME, "--hypothesis-profile=mutations", target, *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """The benchmarks, every stage against its reference and the machine's limit; see docs/performance.md.

    After --: --quick, names of stages, --video FILE, --out FOLDER.
    """
    session.install(".[openvino,litert]")
    session.run("python", "-m", "benchmarks", "--out", session.create_tmp(), *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Style and format."""
    session.install(*LINT)
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Type hints; imported packages without types are skipped, so few need to be installed."""
    session.install(*LINT, "pydantic", "typer", "rich", "msgspec", "numpy", "nox", "pillow")
    session.run("mypy")


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation, into site/; any warning is an error."""
    session.install(*DOCS)
    session.run("mkdocs", "build", "--strict")


@nox.session
def demo(session: nox.Session) -> None:
    """The whole pipeline on the embedded photographs."""
    session.install(".")
    session.run("fcoslite", "demo", "--out", session.create_tmp())


@nox.session
def lean(session: nox.Session) -> None:
    """Detect where neither Keras nor TensorFlow is installed: only what docs/detecting.md names."""
    session.install("--no-deps", ".")
    session.install(*nox.project.dependency_groups(PYPROJECT, "detect"))
    folder = Path(session.create_tmp()).resolve()
    images, annotations = str(DEMO_DATA / "images"), str(DEMO_DATA / "annotations.json")
    photograph = str(DEMO_DATA / "images" / "000000000165.jpg")
    session.chdir(folder)
    absent = "import importlib.util as u; assert not any(map(u.find_spec, ('keras', 'tensorflow', 'jax')))"
    session.run("python", "-c", absent)
    session.run("fcoslite", "detect", images, "--save", "drawn", "--coco", "found.json", "--overwrite")
    session.run("fcoslite", "webcam", "--source", photograph, "--no-window", "--save", "webcam.jpg", "--overwrite")
    session.run("fcoslite", "eval", "--annotations", annotations, "--images", images, "--out", "eval")


@nox.session
def formats(session: nox.Session) -> None:
    """Export to every format, and score each file where nothing but its own runtime is installed."""
    session.install(".[openvino,litert]")
    folder = Path(session.create_tmp()).resolve()
    images, annotations = str(DEMO_DATA / "images"), str(DEMO_DATA / "annotations.json")
    runtimes = {"onnx": "onnxruntime", "openvino": "openvino", "litert": "ai-edge-litert", "saved-model": ""}
    others = [one for one in nox.project.dependency_groups(PYPROJECT, "detect") if not one.startswith("onnxruntime")]
    suffixes = {"onnx": ".onnx", "openvino": ".xml", "litert": ".tflite", "saved-model": ""}
    for name, runtime in runtimes.items():
        file = str(folder / f"lite0{suffixes[name]}")
        export = ("fcoslite", "export", "--weights", "lite0", "--format", name, "--out", file, "--overwrite")
        session.run(*export, "--check", str(DEMO_DATA))
        if not runtime:  # it has none of ours; --check has loaded it
            continue
        session.run("python", "-m", "venv", "--clear", str(folder / name))
        python = str(folder / name / ("Scripts" if os.name == "nt" else "bin") / "python")
        for packages in (["--no-deps", "."], [*others, runtime]):
            session.run(python, "-m", "pip", "install", "--quiet", *packages, external=True)
        score = ("--weights", file, "--annotations", annotations, "--images", images, "--out", str(folder / "eval"))
        session.run(python, "-m", "fcoslite", "eval", *score, "--json", external=True)


@nox.session
def readers(session: nox.Session) -> None:
    """Export as other projects do, and score each file in Ultralytics or MediaPipe: AP is to be that of the layout.

    They have an environment of their own: Ultralytics is under the AGPL, and no dependency of ours.
    """
    session.install(".[litert]")
    folder = Path(session.create_tmp()).resolve()
    session.run("python", "-m", "venv", str(folder / "venv"))
    python = str(folder / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python")
    session.run(python, "-m", "pip", "install", "--quiet", *READERS, external=True)
    missed = []
    for weights in ("lite0", "lite"):
        for layout, suffix in (("yolo", ".onnx"), ("ssd", ".tflite")):
            file = str(folder / f"{weights}-{layout}{suffix}")
            session.run("fcoslite", "export", "--weights", weights, "--layout", layout, "--out", file, "--overwrite")
            by_layout = ("python", "-m", "tests.layout_readers", str(DEMO_DATA), file)
            expected = float(str(session.run(*by_layout, silent=True, stderr=None)).split()[-1])
            read = (python, "tools/readers.py", str(DEMO_DATA), file)
            offline = {"YOLO_OFFLINE": "true", "YOLO_CONFIG_DIR": str(folder)}
            printed = str(session.run(*read, env=offline, external=True, silent=True, stderr=None))
            for line in (json.loads(line) for line in printed.splitlines() if line.startswith("{")):
                session.log(f"{line['file']} in {line['reader']}: AP {line['ap']:.4f}, by its layout {expected:.4f}")
                if line["reader"] in ("ultralytics", "mediapipe") and abs(line["ap"] - expected) > 0.005:
                    missed.append(f"{line['file']} in {line['reader']}")
    if missed:
        session.error(f"other APs than their layouts give: {', '.join(missed)}")


@nox.session
def browser(session: nox.Session) -> None:
    """`webcam --browser` and `review` in Chromium, which must be installed; keeps the screenshots."""
    session.install(".", *TESTS, *BROWSER)
    folder = Path(session.create_tmp()).resolve()
    session.run("pytest", "-m", "browser", *session.posargs, env={"FCOSLITE_SCREENSHOTS": str(folder)})
    session.log(f"screenshots: {', '.join(map(str, sorted(folder.glob('*.png'))))}")


@nox.session
def camera(session: nox.Session) -> None:
    """docs/your-camera.md as a whole, on a camera that GStreamer serves; Chromium and mosquitto must be installed.

    Keeps every picture. After --: --video FILE, to be seen by the camera instead of embedded photographs.
    """
    session.install(".", *TESTS, *BROWSER)
    folder = Path(session.create_tmp()).resolve() / "pictures"
    env = {"FCOSLITE_PICTURES": str(folder)}
    options = list(session.posargs)
    if "--video" in options:
        place = options.index("--video")
        video = Path(*options[place + 1 : place + 2]).resolve()
        if not video.is_file():
            session.error(f"--video needs a file, and {video} is none")
        env["FCOSLITE_VIDEO"] = str(video)
        del options[place : place + 2]
    session.run("pytest", "-rs", "-m", "evening", "tests/evening", *options, env=env)
    session.log(f"pictures to look at: {folder}")


@nox.session
def cluster(session: nox.Session) -> None:
    """Processes that train together, and build records on Ray: killed, stopped and resumed, on this machine."""
    session.install(".", *TESTS)
    # the same few programs are compiled for dozens of processes: JAX keeps them
    folder = session.cache_dir.resolve() / "jax"  # create_tmp() would make TMPDIR longer than Ray's sockets bear
    kept = {"JAX_COMPILATION_CACHE_DIR": str(folder), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    session.run("pytest", *TWO_AT_A_TIME, "--dist", "worksteal", "-m", "cluster", *session.posargs, env=kept)


@nox.session
def mqtt(session: nox.Session) -> None:
    """`--events` and `--mqtt` with mosquitto, which must be installed; kills at random moments, too."""
    session.install(".", *TESTS)
    tests = ("tests/camera", "tests/cli/test_events.py", "tests/faults/test_event_kills.py")
    session.run("pytest", "-m", "faults or not faults", *tests, *session.posargs, env={"FCOSLITE_MOSQUITTO": "1"})


@nox.session
def overfit(session: nox.Session) -> None:
    """Train on eight photographs by the command line alone, and score AP50 >= 0.90 on the same eight."""
    session.install(".")
    folder = Path(session.create_tmp()).resolve()
    session.chdir(folder)
    for made in ("data", "records", "runs"):  # by a session before
        shutil.rmtree(folder / made, ignore_errors=True)
    images = str(DEMO_DATA / "images")
    annotations = str(DEMO_DATA / "annotations.json")
    session.run("fcoslite", "extract", "--annotations", annotations, "--images", images, "--limit", "8")
    session.run("fcoslite", "build-records", "--size", "160")
    session.run("fcoslite", "train", "--config", "overfit")
    scored = session.run(
        "fcoslite", "eval", "--annotations", "data/person/annotations.json", "--images", "data/person/images",
        "--json", "--quiet", silent=True, stderr=None,
    )  # fmt: skip
    ap50 = json.loads(str(scored))["metrics"]["ap50"]
    session.log(f"AP50 on the eight training images: {ap50:.3f}")
    if ap50 < 0.90:
        session.error("AP50 is below 0.90: assignment, losses, decoding or evaluation is wrong")


@nox.session(name="addons-parity", python="3.11")
def addons_parity(session: nox.Session) -> None:
    """Check that an imported checkpoint gives the outputs TensorFlow 2.15 and tensorflow-addons gave."""
    # the reference needs an environment of its own: tensorflow-addons cannot be imported beside Keras 3
    folder = Path(session.create_tmp()).resolve()
    session.run("python", "-m", "venv", "--clear", str(folder / "venv"))
    python = str(folder / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python")
    pins = ["tensorflow-cpu==2.15.1", "tensorflow-addons==0.23.0"]
    session.run(python, "-m", "pip", "install", "--quiet", *pins, external=True)
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "2"}
    session.run(python, "tests/parity/mission_model.py", str(folder), env=quiet, external=True)

    session.install("-e", ".", *TESTS)
    session.run("pytest", "-s", "tests/parity", env={**quiet, "FCOSLITE_PARITY_REFERENCE": str(folder)})
