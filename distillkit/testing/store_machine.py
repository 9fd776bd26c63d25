"""All that is done to a store row by row, as one machine."""

from __future__ import annotations

from distillkit.testing.adding import Adding
from distillkit.testing.damage import Damage
from distillkit.testing.elsewhere import Elsewhere


class StoreMachine(Damage, Elsewhere, Adding):
    """A store that is written, hurt, mended, added to, selected from, merged and copied, against a dict."""
