"""A guest book in Flask that writes its thanks in the background.

flask --app examples.flask_app.app run
flask --app examples.flask_app.app worksong run
"""

from __future__ import annotations

import os
from pathlib import Path

from flask import Flask, current_app, request
from flask.typing import ResponseReturnValue

from worksong.contrib.flask import Worksong

jobs = Worksong()


@jobs.worker.job(max_fails=5)
def thank(guest: str) -> str:
    """Runs in the context of the application, so its configuration is at hand."""
    thanks = f"{current_app.config['GREETING']}, {guest}"
    with Path(current_app.config["BOOK"]).open("a") as book:
        book.write(f"{thanks}\n")
    return thanks


def create_app() -> Flask:
    app = Flask(__name__)
    app.config.update(GREETING="thank you", BOOK="book.txt", WORKSONG_URL="sqlite:///guests.db", WORKSONG_NAME="guests")
    app.config.update(WORKSONG_CONSOLE="/jobs", WORKSONG_CONSOLE_TOKEN=os.environ.get("CONSOLE_TOKEN"))
    jobs.init_app(app)

    @app.post("/guests")
    def sign() -> ResponseReturnValue:
        handle = thank.perform(guest=request.form["name"])
        return {"job": handle.id}, 202

    @app.get("/book")
    def read() -> ResponseReturnValue:
        book = Path(app.config["BOOK"])
        return {"thanks": book.read_text().splitlines() if book.exists() else []}

    return app
