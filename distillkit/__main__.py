"""`python -m distillkit`, and `torchrun -m distillkit`: the same commands."""

from distillkit.cli import main

if __name__ == "__main__":
    main()
