"""`python -m rem_release`, which `accelerate launch -m rem_release` starts too."""

from rem_release.cli import main

if __name__ == "__main__":
    main()
