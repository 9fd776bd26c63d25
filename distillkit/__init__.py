"""distillkit: run a frozen teacher once, train small CLIPs and DINOs from what it said."""

__version__ = "0.1.0"
