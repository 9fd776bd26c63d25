"""The process of a command: `distillkit`, `python -m distillkit`, and `torchrun -m distillkit`."""

from distillkit.system.stopping import leave_at_once


def main() -> None:
    """The console script. Before the command can say a line, and after its last, Ctrl-C ends it without one."""
    leave_at_once()
    from distillkit.cli import main  # which takes a while to import, as what the command used takes a while to go

    main()


if __name__ == "__main__":
    main()
