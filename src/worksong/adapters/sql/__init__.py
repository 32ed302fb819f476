"""`sqlite:///`, `postgresql://`, `mysql://`, `mariadb://`: jobs in tables, one backend in three dialects."""
