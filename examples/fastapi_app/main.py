"""An HTTP service whose jobs run beside it: the worker starts with the application and stops after its last answer.

uvicorn examples.fastapi_app.main:app

Or apart, with web processes that only enqueue:

WORKSONG_WORKER_OFF=1 uvicorn examples.fastapi_app.main:app --workers 4
worksong run examples.fastapi_app.main:worker
"""

from __future__ import annotations

import os

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

from worksong import JobFailed, ResultTimeout, Worker
from worksong.faces.web import Console

worker = Worker(os.environ.get("WORKSONG_URL", "sqlite:///signups.db"), name="signups")
app = FastAPI(lifespan=worker.lifespan)
app.mount("/console", Console(worker))  # without a token it answers this machine only


class Signup(BaseModel):
    email: str


@worker.job(max_fails=5)
async def send_welcome(email: str) -> str:
    if "@" not in email:
        raise ValueError(f"{email!r} is no address")
    return f"welcome, {email}"


@app.post("/signups", status_code=202)
async def sign_up(signup: Signup) -> dict[str, str]:
    handle = await send_welcome.aperform(email=signup.email)
    return {"job": handle.id}


@app.post("/signups/plain", status_code=202)
def sign_up_plainly(signup: Signup) -> dict[str, str]:
    """The same in an endpoint that is no coroutine."""
    return {"job": send_welcome.perform(email=signup.email).id}


@app.get("/signups/{job_id}")
async def welcome(job_id: str, wait: float = 10.0) -> dict[str, object]:
    try:
        return {"said": await worker.handle(job_id).aresult(wait)}
    except ResultTimeout:
        raise HTTPException(404, "not there yet") from None
    except JobFailed as failed:
        raise HTTPException(409, str(failed)) from None
