"""Configuration of Sphinx."""

from __future__ import annotations

from durableflow._version import __version__

project = "durableflow"
author = "the durableflow authors"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

napoleon_use_ivar = True
autodoc_member_order = "bysource"
autodoc_typehints = "none"
autoclass_content = "class"

html_theme = "furo"
html_title = f"durableflow {release}"
