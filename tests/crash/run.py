"""Kill the processes of a task hub at random moments and prove that nothing is lost.

Two workers share one file: one owns it, the other has joined.  A client starts chains and
fan-outs all the while.  Again and again one of the workers, mostly the owner, is killed with
SIGKILL and started anew.  In the end:

- every start that was acknowledged has completed, with the right result;
- its history holds each scheduled activity once, each result once, and one completion;
- every activity was executed at least once;
- nobody was put into quarantine.

``python tests/crash/run.py --kills 200 --seed 1``
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from service import app, chain, expected, fan_out

from durableflow import Client, OperationalError, OrchestrationState

SERVICE = Path(__file__).with_name("service.py")
WORKERS = 2


class Workers:
    """The worker processes, and who of them owns the file."""

    def __init__(self, hub: Path, effects: Path, log: Path) -> None:
        self.hub = hub
        self._effects = effects
        self._log = log.open("ab")
        self._processes: list[subprocess.Popen[bytes]] = []
        self.kills = collections.Counter[str]()

    def start(self) -> None:
        """Start workers until there are enough."""
        while len(self._processes) < WORKERS:
            command = [sys.executable, str(SERVICE), str(self.hub), str(self._effects)]
            self._processes.append(subprocess.Popen(command, stdout=self._log, stderr=self._log))

    def kill(self, dice: random.Random) -> None:
        """Kill one of them, the owner three times out of four."""
        owner = self._owner()
        victims = [p for p in self._processes if (p.pid == owner) == (dice.random() < 0.75)]
        victim = dice.choice(victims or self._processes)
        self.kills["owner" if victim.pid == owner else "joined"] += 1
        victim.send_signal(signal.SIGKILL)
        victim.wait()
        self._processes.remove(victim)

    def stop(self) -> None:
        """End them politely."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._log.close()

    def _owner(self) -> int | None:
        try:
            return int(json.loads(self.hub.with_name(self.hub.name + ".owner").read_text())["pid"])
        except (OSError, ValueError, KeyError):
            return None


class Starter(threading.Thread):
    """Starts orchestrations until it is told to stop; remembers those that were acknowledged."""

    def __init__(self, client: Client, dice: random.Random) -> None:
        super().__init__(name="starter")
        self.acknowledged: dict[str, tuple[str, int]] = {}
        self.refused = 0
        self._client = client
        self._dice = dice
        self._told = threading.Event()

    def run(self) -> None:
        while not self._told.wait(self._dice.uniform(0.0, 0.15)):
            orchestrator = self._dice.choice([chain, fan_out])
            size = self._dice.randint(1, 30)
            try:
                instance_id = self._client.schedule_new_orchestration(orchestrator, input=size)
            except OperationalError:
                self.refused += 1
            else:
                self.acknowledged[instance_id] = (orchestrator.__name__, size)

    def stop(self) -> None:
        self._told.set()
        self.join()


def problems(
    client: Client, instance_id: str, name: str, size: int, effects: set[str]
) -> list[str]:
    """What is wrong with one acknowledged orchestration."""
    state: OrchestrationState[int] = client.wait_for_orchestration_completion(
        instance_id, timeout=120
    )
    found = []
    if state.parked is not None:
        found.append(f"parked: {state.parked.message}")
    if state.get_output(int) != expected(name, size):
        found.append(f"{name}({size}) gave {state.get_output(int)}")
    history = client.get_orchestration_history(instance_id)
    kinds = collections.Counter(event.kind for event in history)
    wanted = {
        "execution_started": 1,
        "task_scheduled": size,
        "task_completed": size,
        "execution_completed": 1,
    }
    found += [f"{kinds[k]} {k} instead of {n}" for k, n in wanted.items() if kinds[k] != n]
    missing = [n for n in range(1, size + 1) if f"{instance_id} {n}" not in effects]
    found += [f"activity {n} never ran" for n in missing]
    return [f"{instance_id}: {text}" for text in found]


def run(kills: int, seed: int, folder: Path) -> tuple[list[str], str]:
    """Carry the whole test out.

    Returns:
        What was wrong, and one line of figures.
    """
    dice = random.Random(seed)
    hub, effects = folder / "hub.db", folder / "effects.txt"
    workers = Workers(hub, effects, folder / "workers.log")
    workers.start()
    began = time.monotonic()
    pause = threading.Event()
    with app.client(task_hub=f"sqlite:///{hub}") as client:
        starter = Starter(client, random.Random(seed + 1))
        starter.start()
        try:
            for number in range(kills):
                pause.wait(dice.uniform(0.05, 1.2))
                workers.kill(dice)
                workers.start()
                if sys.stderr.isatty():
                    print(f"\r{number + 1} kills", end="", file=sys.stderr)
            starter.stop()
            for instance_id in starter.acknowledged:
                client.wait_for_orchestration_completion(instance_id, timeout=120)
            lines = effects.read_text().splitlines()
            found: list[str] = []
            for instance_id, (name, size) in starter.acknowledged.items():
                found += problems(client, instance_id, name, size, set(lines))
        finally:
            starter.stop()
            workers.stop()
    figures = (
        f"{kills} kills ({workers.kills['owner']} owners, {workers.kills['joined']} joined), seed "
        f"{seed}: {len(starter.acknowledged)} acknowledged starts, {starter.refused} refused, "
        f"{len(set(lines))} activities executed {len(lines)} times, "
        f"{time.monotonic() - began:.0f} s"
    )
    return found, figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(3), "big"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found, figures = run(arguments.kills, arguments.seed, Path(folder))
        log = Path(folder, "workers.log").read_text(errors="replace")
    print(f"\n{figures}")
    for problem in found:
        print(f"LOST: {problem}")
    if found or "Traceback" in log:
        print("\n".join(log.splitlines()[-200:]))
    print("nothing was lost" if not found else f"{len(found)} problems")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
