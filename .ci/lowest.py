"""Prints the lowest versions that setup.cfg allows, as constraints for pip: `python .ci/lowest.py > .ci/lowest.txt`."""

from __future__ import annotations

import configparser
import re
from pathlib import Path


def lowest(setup: Path) -> str:
    """Returns one line `name==version` for each requirement `name>=version` of the package and of its extra `test`."""
    config = configparser.ConfigParser()
    config.read(setup, encoding="utf-8")
    asked = config["options"]["install_requires"] + config["options.extras_require"]["test"]
    return "".join(f"{line}\n" for line in sorted(set(re.sub(r">=", "==", asked).split("\n"))) if line)


if __name__ == "__main__":
    print(lowest(Path(__file__).resolve().parent.parent / "setup.cfg"), end="")  # noqa: T201
