"""Who is logged in: the name that the database knows this person, or this workload, by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.google.client import GoogleError, NotLoggedIn, credentials

if TYPE_CHECKING:
    from infra.google.client import Google

_SERVICE_ACCOUNT = ".gserviceaccount.com"


def email(google: Google) -> str:
    """Its e-mail address.

    Raises:
        NotLoggedIn: there is no login, or it does not tell its address.
        GoogleError
    """
    found = credentials(google.project)
    known = getattr(found, "service_account_email", "") or getattr(found, "account", "")
    if "@" in str(known):  # a machine's own identity says "default" before it was asked
        return str(known)
    try:
        answer = google.execute(google.api("oauth2").userinfo().get())
    except GoogleError as error:
        raise NotLoggedIn(f"The login does not tell whose it is ({error}); log in again") from None
    if not answer.get("email"):
        raise NotLoggedIn(
            "The login does not tell whose it is: `gcloud auth application-default login` with the scope userinfo.email"
        )
    return str(answer["email"])


def database_user(address: str) -> str:
    """The name of that account in Cloud SQL, in lower case: without `.gserviceaccount.com`, whole for a person."""
    return address.lower().removesuffix(_SERVICE_ACCOUNT)
