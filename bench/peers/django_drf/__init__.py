"""Django and Django REST framework: one of the peers on all engines.

Unmanaged models on the product's tables, `select_related` and `prefetch_related`, serializers and generic views, served
by one gunicorn worker with a thread for each of sixteen requests and a persistent database connection in each thread.
The REST framework is synchronous, so an ASGI server would send its views through one thread. On SQLite the driver is
that of the standard library, on PostgreSQL psycopg with its C part, on MariaDB PyMySQL: mysqlclient has no wheels for
Linux, and the project builds nothing from source.
"""
