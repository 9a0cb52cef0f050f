"""The address of MLflow as a run may keep it: without a password, for its files and weights are passed on."""

import re

from fcoslite.errors import ConfigError
from fcoslite.text import is_like_address, without_user

_SERVER = ("http", "https")
_FILE = re.compile(r"file:|[A-Za-z]:[/\\]")
_PASSWORD_AS_OPTION = re.compile(r"[?&][^=&]*(passw|pwd|token|secret)[^=&]*=", re.IGNORECASE)
_HINT = (
    "leave them out: MLflow takes them from the environment, as MLFLOW_TRACKING_USERNAME and "
    "MLFLOW_TRACKING_PASSWORD, or as MLFLOW_TRACKING_TOKEN"
)
_DATABASE_HINT = (
    "let `mlflow server --backend-store-uri` have the database, and name that server, http://HOST:5000; its own user "
    "and password MLflow takes from MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
)


def refuse_password(uri: str) -> None:
    """Raise ConfigError where an MLflow tracking URI holds a user or a password.

    That of a database may hold a user, without whom there is none.
    """
    scheme, separator, place = uri.partition("://")
    if not separator:
        if _FILE.match(uri) or not is_like_address(uri):
            return
        scheme, place = "", uri
    is_database = separator and scheme.lower() not in _SERVER
    if is_database and place.startswith("/"):  # a file
        return
    user, at, _ = place.rpartition("@")
    is_refused = at and not (is_database and re.fullmatch(r"[\w.-]+", user))
    if is_refused or _PASSWORD_AS_OPTION.search(place):
        message = f"workspace.mlflow_uri, {without_user(uri)}, holds a user or password, which the run would keep"
        raise ConfigError(message, _DATABASE_HINT if is_database else _HINT)
