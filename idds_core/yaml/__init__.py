"""Scan files in YAML: the same model as in Python, both ways, with the line of each mistake."""

from idds_core.yaml.writing import to_yaml

__all__ = ["to_yaml"]
