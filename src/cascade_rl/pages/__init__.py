"""What every HTML page of this project shares: one look, and charts as inline SVG.

One rule: a page is one file that refers to nothing outside itself, and whatever is not markup made
here is escaped. `style.css` holds the colours as variables, light and dark.
"""

from __future__ import annotations

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined


def environment(package: str) -> Environment:
    """Templates of a package, which may `{% include "style.css" %}`; everything is escaped."""
    return Environment(
        loader=ChoiceLoader([PackageLoader(package, "."), PackageLoader("cascade_rl.pages", ".")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
