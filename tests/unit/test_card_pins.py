"""What is pinned for the card is what the package asks for: without a pin nothing of it can be installed offline."""

import tomllib
from pathlib import Path

from packaging.requirements import Requirement

from hw.image.wheels import EXTRAS, pins

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]


def test_every_package_that_the_card_needs_is_pinned_within_its_bounds() -> None:
    pinned = dict(pin.split("==") for pin in pins())
    wanted = list(PROJECT["dependencies"])
    for extra in EXTRAS.split(","):
        wanted += PROJECT["optional-dependencies"][extra]
    for requirement in map(Requirement, wanted):
        name = requirement.name.lower().replace("_", "-")
        assert name in pinned, f"{name}: python -m hw.image.pins"
        assert requirement.specifier.contains(pinned[name]), f"{name}=={pinned[name]} is not {requirement.specifier}"
