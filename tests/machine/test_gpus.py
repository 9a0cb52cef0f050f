from fcoslite.machine import gpus
from fcoslite.machine.gpus import Gpu


def test_nvidia_smi_is_read(monkeypatch):
    class Done:
        stdout = "NVIDIA GeForce RTX 3050 Laptop GPU, 4096, 8.6\nOdd, card, [N/A], [N/A]\n"

    monkeypatch.setattr(gpus.shutil, "which", lambda name: "/usr/bin/" + name)
    monkeypatch.setattr(gpus.subprocess, "run", lambda *args, **kwargs: Done())
    assert gpus.driver_gpus() == [Gpu("NVIDIA GeForce RTX 3050 Laptop GPU", 4096, 8.6)]


def test_why_there_is_no_gpu_is_explained(monkeypatch):
    monkeypatch.setattr(gpus, "driver_gpus", lambda: [])
    monkeypatch.setattr(gpus.platform, "system", lambda: "Windows")
    monkeypatch.setattr("keras.backend.backend", lambda: "tensorflow")
    assert "WSL2" in gpus.why_no_gpu()
    monkeypatch.setattr(gpus.platform, "system", lambda: "Linux")
    assert "nvidia-smi" in gpus.why_no_gpu()
