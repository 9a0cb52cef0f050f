"""SIGKILL at random moments of a program that writes events and sends them to a real broker."""

import json
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.camera.test_mqtt import KILLED
from tests.faults.processes import report
from tests.mosquitto import Listener, Mosquitto, needs_mosquitto, wait_for

pytestmark = [pytest.mark.faults, pytest.mark.skipif(sys.platform == "win32", reason="signals"), needs_mosquitto()]

KILLS = 25


def test_no_event_is_lost_or_sent_twice(tmp_path: Path) -> None:
    (tmp_path / "broker").mkdir()
    broker, chance = Mosquitto(tmp_path / "broker"), random.Random(11)
    listener = Listener(broker.port)
    for life in range(KILLS):
        command = [sys.executable, "-c", KILLED, str(broker.port), str(1000 * life + 1), str(1000 * life + 1000)]
        with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None and process.stdout.readline() == "began\n"
            time.sleep(chance.uniform(0.02, 0.8))
            process.kill()
        if life % 5 == 4:
            broker.stop()
            broker.start()
    last = [sys.executable, "-c", KILLED, str(broker.port), "900000", "900010"]
    subprocess.run(last, cwd=tmp_path, check=True, timeout=300)
    lines = (tmp_path / "events.jsonl").read_text().splitlines()
    ids = [json.loads(line)["id"] for line in lines]
    assert len(ids) > KILLS and len(set(ids)) == len(ids)
    wait_for(lambda: len(listener.events("door")) >= len(ids))
    time.sleep(1)
    assert [event["id"] for event in listener.events("door")] == ids
    listener.close()
    broker.stop()
    report(
        "SIGKILL while events are written and sent by MQTT",
        KILLS,
        "events that were going on",
        "each of the others once",
    )
