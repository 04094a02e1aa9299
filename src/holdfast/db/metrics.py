"""What the data layer counts: statements by name, transactions, and the pool (exposed at /metrics)."""

from prometheus_client import Counter, Gauge, Histogram

from holdfast.core.tallies import Timings

_BUCKETS = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

statement_timings = Timings(
    "holdfast_statement_seconds",
    "Time from sending a statement to having its rows.",
    ["statement"],
    bounds=_BUCKETS,
    counter=("holdfast_statements", "Statements run, by name."),
)
slow_statements = Counter("holdfast_slow_statements", "Statements above the slow threshold, by name.", ["statement"])
transactions_retried = Counter(
    "holdfast_transactions_retried", "Transactions run again after a conflict or a lost connection.", ["reason"]
)
connections_cut = Counter(
    "holdfast_connections_cut", "Connections ended because their database server answered nobody any more."
)
purge_transaction_seconds = Histogram(
    "holdfast_purge_transaction_seconds", "How long a purge held a transaction open, to its end.", buckets=_BUCKETS
)
pool_open = Gauge("holdfast_pool_open_connections", "Connections open now.", ["pool"])
pool_in_use = Gauge("holdfast_pool_in_use_connections", "Connections lent out now.", ["pool"])
pool_waiting = Gauge("holdfast_pool_waiting", "Requests waiting for a connection now.", ["pool"])
pool_timeouts = Counter("holdfast_pool_timeouts", "Waits for a connection that reached the limit.", ["pool"])
pool_wait_seconds = Histogram(
    "holdfast_pool_wait_seconds", "Time waited for a connection, for those who waited.", ["pool"], buckets=_BUCKETS
)
