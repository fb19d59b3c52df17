"""`python -m lriad`, which launchers such as Accelerate's need."""

from lriad.cli import main

if __name__ == "__main__":
    main()
