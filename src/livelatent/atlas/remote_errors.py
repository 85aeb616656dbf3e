"""What a remote server's refusal means, in our words only.

The client's own messages quote the whole request, token and password too, so nothing of them is repeated.
"""

import re

from livelatent.errors import LivelatentError, NoPermissionError, StoreError


def refusal(where: str, scheme: str, error: Exception) -> LivelatentError:
    """What went wrong, and what to do.

    Parameters
    ----------
    where
        The file's address as it may be shown.
    scheme
        `"s3"`, `"gs"`, `"http"` or `"https"`.
    """
    if isinstance(error, LivelatentError):
        return error
    text, kind = str(error), type(error).__name__
    status = re.search(r"status code: (\d{3})", text)
    answer = f"the server answered {status[1]}" if status else ""
    if isinstance(error, FileNotFoundError):
        return StoreError(f"{where} is missing.")
    if kind in ("PermissionDeniedError", "UnauthenticatedError") or (status and status[1] in ("401", "403")):
        return NoPermissionError(
            f"{where}: no permission ({answer or 'refused'}). Check the credentials ({credentials_of(scheme)}); a "
            'public store is read with storage_options={"anonymous": True}.'
        )
    if re.search(r"169\.254\.169\.254|metadata\.google|latest/api/token|security-credentials", text):
        return NoPermissionError(
            f"{where}: no credentials were found. Set {credentials_of(scheme)}; a public store is read with "
            'storage_options={"anonymous": True}.'
        )
    if "redirect" in text.lower():
        return StoreError(
            f'{where}: the server sent the request elsewhere. Is the region right? (storage_options={{"region": ...}})'
        )
    if kind == "NotSupportedError":
        return StoreError(
            f"{where}: the server does not answer requests for a part of a file. Copy the store here "
            "(`livelatent copy ADDRESS FOLDER`), or have it served by one that does."
        )
    if "kind: Connect" in text or "dns error" in text:
        answer = "nobody answers there"
    elif "kind: Timeout" in text or "timed out" in text:
        answer = "no answer came in time"
    return StoreError(f"{where} can't be reached ({answer or kind}). Check the address and the network, and try again.")


def credentials_of(scheme: str) -> str:
    """Where a server's credentials are told."""
    if scheme == "s3":
        return "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or storage_options="
    if scheme == "gs":
        return "GOOGLE_APPLICATION_CREDENTIALS, or storage_options="
    return 'the address, or storage_options={"headers": ...}'
