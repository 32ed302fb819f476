"""`mariadb://` beside its model."""

from __future__ import annotations

import pytest

from machine.beside import PATIENCE, beside_its_model
from worksong.adapters.sql.mysql import mysql_backend
from worksong.domain.job import new_id


@pytest.mark.timeout(PATIENCE)
def test_mariadb_does_what_the_model_says(mariadb_url: str) -> None:
    beside_its_model(lambda: mysql_backend(mariadb_url, namespace=new_id()))
