"""The smallest program: enqueue, run, done.

python examples/hello.py
"""

from __future__ import annotations

from worksong import Worker

worker = Worker()  # memory:// - nothing to install or start


@worker.job()
async def greet(name: str) -> str:
    print(f"hello, {name}")
    return name


if __name__ == "__main__":
    greet.perform("world")
    worker.run(burst=True)
