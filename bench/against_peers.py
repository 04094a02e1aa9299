"""What a request costs Holdfast and each peer, in CPU time of application and database together, taking turns."""

from collections.abc import Iterator

from bench.measure import Effort, compare, server_side
from bench.peers import FASTAPI, PEERS, Peer
from bench.population import Population
from bench.report import Figure
from bench.scenarios import Scenario, scenarios
from bench.stand import Stand, load_process

THOROUGH = Effort(rounds=5, seconds=1.0, warm_up=100)
BRIEF = Effort(rounds=2, seconds=0.1, warm_up=20)
# One of each endpoint. The lists that span projects are left to P1 and P1s: what they cost is the database's work.
_NAMES = ("forms of a project, by its teacher", "user with groups", "open a form with a message")


def three_endpoints(population: Population) -> list[Scenario]:
    """The scenarios of the peers; the write comes last, because it changes what the reads find."""
    return sorted(
        (each for each in scenarios(population) if each.name in _NAMES), key=lambda scenario: scenario.is_write
    )


def measure_peers(stand: Stand, population: Population, effort: Effort) -> Iterator[Figure]:
    """How many times less a request costs than with each installed peer."""
    chosen = three_endpoints(population)
    with load_process(chosen, stand.folder) as load, stand.holdfast() as server:
        for scenario in chosen:
            for peer in PEERS:
                if not peer.is_installed or _is_of_p1s(stand.engine, peer, scenario):
                    continue
                with stand.peer(peer) as other:
                    measured = compare(
                        stand,
                        scenario,
                        product=server_side(server, load, scenario),
                        other=server_side(other, load, scenario),
                        effort=effort,
                    )
                name = f"{scenario.name}, against {peer.name}"
                yield Figure(
                    "peers", stand.engine, name, 1 / measured.ratio, None, "x less than peer", measured, at_least=True
                )


def _is_of_p1s(engine: str, peer: Peer, scenario: Scenario) -> bool:
    """P1s has a bound for it, and measures it."""
    return engine == "sqlite" and peer is FASTAPI and not scenario.is_write
