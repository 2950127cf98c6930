"""Distributions that offer plug-ins, written as installers leave them."""

from pathlib import Path


def install(folder: Path, name: str, **groups: dict[str, str]) -> None:
    """Writes the metadata of a distribution: entry points by group of robustkit, each an address by name."""
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = [
        f"[robustkit.{group}]\n" + "".join(f"{point} = {address}\n" for point, address in points.items())
        for group, points in groups.items()
    ]
    (info / "entry_points.txt").write_text("\n".join(lines))
