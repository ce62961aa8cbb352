"""Rotates what an OAuth 2.0 client holds: its secret and its refresh token, with an overlap in which both are accepted.

The secret's value is a JSON object:

    token_endpoint        where tokens are got (RFC 6749)
    introspect_endpoint   where a token can be asked about (RFC 7662)
    secrets_endpoint      where the provider keeps the client's secrets: PUT {secrets_endpoint}/{label} adds one and returns
                          it, GET lists the labels, DELETE removes one; each authenticated by any secret that is valid
    client_id, client_secret, secret_label, refresh_token

A refresh token is bound to the client secret under which it was got, as many providers have it. So the overlap is the
provider's having two secrets at once: AWSCURRENT's and AWSPENDING's during a rotation, AWSPREVIOUS's and AWSCURRENT's until
the next one. An application that still works with the former value when the label moves is not refused.

    createSecret   remove every label but AWSCURRENT's (what an earlier rotation left), add one that is named after the new version,
                   get a refresh token under it, keep both
    setSecret      nothing: the provider made the secret and knows it
    testSecret     authenticate with the new secret, and have the new refresh token declared active
    finishSecret   move AWSCURRENT

Every step may be run again: the label is the version's id, so adding it twice adds it once.
"""

import base64
import json
import os
import urllib.parse
import urllib.request

import boto3

SECONDS = 10


def handler(event, _context):
    """Carry out one step of a rotation."""
    secrets = boto3.client("secretsmanager", endpoint_url=os.environ.get("SECRETS_MANAGER_ENDPOINT"))
    arn, token = event["SecretId"], event["ClientRequestToken"]
    versions = secrets.describe_secret(SecretId=arn)["VersionIdsToStages"]
    if "AWSCURRENT" in versions.get(token, []):
        return
    if "AWSPENDING" not in versions.get(token, []):
        raise ValueError("the version is not AWSPENDING")
    match event["Step"]:
        case "createSecret":
            create(secrets, arn, token)
        case "testSecret":
            check(read(secrets, arn, "AWSPENDING"))
        case "finishSecret":
            current = next(version for version, stages in versions.items() if "AWSCURRENT" in stages)
            secrets.update_secret_version_stage(
                SecretId=arn, VersionStage="AWSCURRENT", MoveToVersionId=token, RemoveFromVersionId=current
            )


def create(secrets, arn, token):
    """Add a client secret and a refresh token, unless the version has them."""
    if read(secrets, arn, "AWSPENDING") is not None:
        return
    current = read(secrets, arn, "AWSCURRENT")
    place = current["secrets_endpoint"]
    for label in ask("GET", place, current)["labels"]:
        if label not in (current["secret_label"], token):
            ask("DELETE", f"{place}/{label}", current)
    added = ask("PUT", f"{place}/{token}", current)
    pending = {**current, "client_secret": added["client_secret"], "secret_label": token}
    form = {"grant_type": "refresh_token", "refresh_token": current["refresh_token"]}
    pending["refresh_token"] = ask("POST", current["token_endpoint"], pending, form)["refresh_token"]
    secrets.put_secret_value(
        SecretId=arn, ClientRequestToken=token, SecretString=json.dumps(pending), VersionStages=["AWSPENDING"]
    )


def check(pending):
    """Raise unless the provider takes the new secret and calls the new refresh token active."""
    told = ask("POST", pending["introspect_endpoint"], pending, {"token": pending["refresh_token"]})
    if told.get("active") is not True:
        raise ValueError("the new refresh token is not active")


def read(secrets, arn, stage):
    """Return the value under a label; None where there is none yet."""
    try:
        return json.loads(secrets.get_secret_value(SecretId=arn, VersionStage=stage)["SecretString"])
    except secrets.exceptions.ResourceNotFoundException:
        return None


def ask(method, url, client, form=None):
    """Make a request authenticated as the client (HTTP Basic, RFC 6749, 2.3.1); return the JSON of the answer.

    Errors name the place and the status, never what was sent.
    """
    words = ":".join(urllib.parse.quote(client[name], safe="") for name in ("client_id", "client_secret"))
    request = urllib.request.Request(
        url,
        method=method,
        data=None if form is None else urllib.parse.urlencode(form).encode(),
        headers={"Authorization": "Basic " + base64.b64encode(words.encode()).decode()},
    )
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            return json.loads(answer.read() or b"{}")
    except urllib.error.HTTPError as error:
        raise RuntimeError(f"{method} {url} was answered {error.code}") from None
