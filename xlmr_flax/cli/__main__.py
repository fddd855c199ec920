"""`python -m xlmr_flax.cli`, by which a command starts another."""

from xlmr_flax.cli import main

if __name__ == "__main__":
    main()
