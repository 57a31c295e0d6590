"""What is filled into settings before they are checked: paths, ports and addresses that follow from other settings.

Each function takes the merged layers as plain data, in which any value may still be of a wrong kind; the schema of
`recorder.settings` refuses those afterwards.
"""

from pathlib import Path
from typing import Any
from urllib.parse import quote

from recorder import portmap
from recorder.errors import ConfigError

POSTGRES_PORT = 5432  # where a server listens unless configured otherwise


def fill(data: dict[str, Any]) -> None:
    """Fill in everything that follows from other settings.

    Raises:
        ConfigError: more venues are simulated than there are ports.
    """
    _fill_paths(data)
    _fill_database(data)
    _fill_ports(data)
    _fill_addresses(data)


def split_commas(value: object) -> object:
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def _fill_paths(data: dict[str, Any]) -> None:
    given = data.get("home", "var")
    home = Path(given if isinstance(given, str | Path) else "var").expanduser().absolute()
    database = data.get("database", {})
    name = database.get("name", "tapedeck") if isinstance(database, dict) else "tapedeck"
    if isinstance(given, str | Path):  # the schema refuses anything else
        data["home"] = home
    authorities = data.get("ca_file")
    if authorities and isinstance(authorities, str | Path):
        data["ca_file"] = Path(authorities).expanduser().absolute()
    budgets = data.get("budgets_dir") or home
    data["budgets_dir"] = Path(budgets).expanduser().absolute() if isinstance(budgets, str | Path) else budgets
    # One journal folder per database: a demo's journal must never be loaded into the database of the real one.
    for group, key, default in (
        ("journal", "dir", home / "journal" / str(name)),
        ("simulator", "truth_dir", home / "simulator"),
    ):
        values = data.setdefault(group, {})
        if isinstance(values, dict):
            path = values.get(key) or default
            values[key] = Path(path).expanduser().absolute() if isinstance(path, str | Path) else path


def _fill_ports(data: dict[str, Any]) -> None:
    try:
        base = int(data.get("port_base", portmap.DEFAULT_BASE))
    except (TypeError, ValueError):
        return  # the schema refuses it
    for group, key, offset in (
        ("database", "port", portmap.POSTGRES),
        ("jupyter", "port", portmap.JUPYTER),
        ("watchdog", "port", portmap.WATCHDOG),
        ("web", "port", portmap.WEB),
        ("simulator", "control_port", portmap.SIMULATOR_CONTROL),
    ):
        values = data.setdefault(group, {})
        if isinstance(values, dict):
            values.setdefault(key, portmap.number(base, offset))
    simulator = data["simulator"]
    if not isinstance(simulator, dict):
        return
    for listed, key, numbers in (
        ("venues", "ports", portmap.of_venues),
        ("services", "service_ports", portmap.of_services),
    ):
        names, given = split_commas(simulator.get(listed, ())), simulator.get(key, {})
        if isinstance(names, list | tuple) and isinstance(given, dict):
            try:
                simulator[key] = {**numbers(base, names), **given}
            except ValueError as error:
                raise ConfigError(f"simulator.{listed}: {error}") from None


def _fill_addresses(data: dict[str, Any]) -> None:
    """Put the port of the simulated venue or service in the place of `{port}` in its addresses."""
    venues, simulator = data.get("venues", {}), data["simulator"]
    _fill_services(data.get("poller"), simulator)
    numbers = simulator.get("ports", {}) if isinstance(simulator, dict) else {}
    if not isinstance(venues, dict) or not isinstance(numbers, dict):
        return
    for name, values in venues.items():
        if not isinstance(values, dict):
            continue
        venues[name] = changed = dict(values)
        for key in ("url", "rest_url"):
            address = values.get(key)
            if isinstance(address, str) and name in numbers:
                changed[key] = address.replace("{port}", str(numbers[name]))


def _fill_services(poller: object, simulator: object) -> None:
    """Put the ports of the simulated services into the addresses of those that are polled."""
    services = poller.get("services") if isinstance(poller, dict) else None
    numbers = simulator.get("service_ports", {}) if isinstance(simulator, dict) else {}
    if not isinstance(poller, dict) or not isinstance(services, dict) or not isinstance(numbers, dict):
        return
    poller["services"] = {
        name: address.replace("{port}", str(numbers[name])) if isinstance(address, str) and name in numbers else address
        for name, address in services.items()
    }


def _fill_database(data: dict[str, Any]) -> None:
    """Put the address together where `host` is given and `url` is not."""
    values = data.setdefault("database", {})
    if not isinstance(values, dict) or values.get("url") or not values.get("host"):
        return
    port = values.setdefault("port", POSTGRES_PORT)
    host, user, password = (str(values.get(key) or "") for key in ("host", "user", "password"))
    login = quote(user, safe="") + (f":{quote(password, safe='')}" if password else "")
    server = f"[{host}]" if ":" in host else quote(host, safe="")
    name = quote(str(values.get("name", "tapedeck")), safe="")
    values["url"] = f"postgresql://{login}{'@' if login else ''}{server}:{port}/{name}"
