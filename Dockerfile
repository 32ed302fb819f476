# An image with the command `worksong`, for every backend. One for an application of yours: docs/guides/deployment.md.
#
#   docker build --tag worksong .
#   docker run --rm worksong status --url redis://redis.example:6379/0

FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src src
RUN python -m venv /opt/worksong && /opt/worksong/bin/pip install --no-cache-dir --constraint constraints.txt '.[all]'

FROM python:3.13-slim
RUN useradd --create-home --uid 10001 worksong
COPY --from=build /opt/worksong /opt/worksong
ENV PATH=/opt/worksong/bin:$PATH PYTHONUNBUFFERED=1
USER worksong
WORKDIR /home/worksong
# In this form the command is process 1 itself, and hears the signal to stop.
ENTRYPOINT ["worksong"]
CMD ["--help"]
