"""The SQLite library: `pysqlite3`, which brings a current one, or else Python's own.

SQLite 3.7 to 3.51.2 has the published WAL-reset bug, which can lose a commit; `SQLITE_VERSION_IS_SAFE` says whether
the library found is newer.
"""

from types import ModuleType

try:
    from pysqlite3 import dbapi2 as _sqlite3
except ImportError:  # no wheel for this platform
    import sqlite3 as _sqlite3

sqlite3: ModuleType = _sqlite3
SQLITE_VERSION_IS_SAFE: bool = _sqlite3.sqlite_version_info > (3, 51, 2)
