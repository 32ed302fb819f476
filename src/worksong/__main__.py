"""`python -m worksong` is the command `worksong`."""

from __future__ import annotations

from worksong.faces.cli import main

if __name__ == "__main__":
    main()
