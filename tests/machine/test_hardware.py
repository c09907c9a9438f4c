"""What figures were taken on."""

import json

from fastnst.machine.hardware import describe_machine


def test_machine_in_words() -> None:
    machine = describe_machine()
    assert machine["packages"]["numpy"]
    assert "torch" not in machine["packages"]
    assert machine["processors"] >= 1
    assert all(machine[name] for name in ("system", "processor", "python"))
    json.dumps(machine)
