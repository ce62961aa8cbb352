"""Who may do what with a secret, and why: questions put to the evaluator without making the call.

What it does: builds the call that a principal would make, finds its subject as the gate does, and explains the decision,
the one over the secret's customer key included. What it trusts: the operator who asks. What it must never do: carry an
action out, or read a value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from msgspec.structs import replace

from turnlock import accounts, policies, secrets
from turnlock.core.action import Request, Subject
from turnlock.core.arn import AccountId, Arn, Region
from turnlock.core.call import Call, Principal
from turnlock.errors import ApiError, ConfigurationError
from turnlock.policies import Explanation
from turnlock.secrets import Secret
from turnlock.shell.admission import Service
from turnlock.storage import Unit

SERVICE: Final = "secretsmanager"

_KEY_USES: Final[Mapping[str, Sequence[str]]] = {
    "GetSecretValue": ("Decrypt",),
    "PutSecretValue": ("GenerateDataKey",),
    "UpdateSecret": ("GenerateDataKey", "Decrypt"),
}
"""By action: what it does with a customer key as its caller (user guide, "Secret encryption and decryption")."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Whether a principal may do this with the secret."""

    action: str
    """With its service, such as `secretsmanager:GetSecretValue`."""
    secret: str
    """A SecretId: a name, or an ARN."""
    region: Region
    """Where a name is looked up; an ARN says its own."""
    conditions: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Condition keys of the call, in lower case, such as `aws:sourceip`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What was decided over every right that the call needs."""

    principal: str
    steps: Sequence[Explanation]
    """The action itself, then the uses of the secret's key; the first that is denied ends them."""

    @property
    def allowed(self) -> bool:
        """True when no right is missing."""
        return all(step.allowed for step in self.steps)


def may(services: Mapping[str, Service], unit: Unit, principal_arn: str, question: Question) -> Answer:
    """Answer a question for one principal. Raises ConfigurationError for a principal or an action that there is not."""
    principal = accounts.find_principal(unit, principal_arn)
    if principal is None:
        raise ConfigurationError(f"There is no user, role or root user {principal_arn}.")
    return _Asking(services, unit, question).answer(principal)


def who(services: Mapping[str, Service], unit: Unit, question: Question) -> list[Answer]:
    """Answer a question for every principal of every account."""
    asking = _Asking(services, unit, question)
    return [
        asking.answer(principal)
        for account_id in accounts.accounts(unit)
        for principal in accounts.principals_of(unit, account_id)
    ]


@dataclass(frozen=True, slots=True)
class _Asking:
    """A question with what it is asked of."""

    services: Mapping[str, Service]
    unit: Unit
    question: Question

    def answer(self, principal: Principal) -> Answer:
        call = self._call(principal)
        request = {"SecretId": self.question.secret, "Name": self.question.secret}
        steps = [self._step(call, request)]
        secret = self._secret(call, request)
        if steps[0].allowed and secret is not None and secret.kms_key_id is not None:
            steps += [self._key_step(call, secret, name) for name in _KEY_USES.get(call.action, ())]
        denied = next((number for number, one in enumerate(steps, 1) if not one.allowed), len(steps))
        return Answer(principal=principal.arn, steps=steps[:denied])

    def _call(self, principal: Principal) -> Call:
        service, _, action = self.question.action.rpartition(":")
        if service not in ("", SERVICE):
            raise ConfigurationError(f"{self.question.action} is no action on secrets.")
        try:
            region = Region(Arn.parse(self.question.secret).region)
        except ValueError:
            region = self.question.region
        return Call(
            principal=principal,
            account_id=principal.account_id,
            region=region,
            service=SERVICE,
            action=action,
            request_id="explain",
            source_ip="",
            user_agent="",
            at=self.unit.now,
        )

    def _step(self, call: Call, request: Request) -> Explanation:
        passage = self.services[call.service].passages.get(call.action)
        if passage is None:
            raise ConfigurationError(f"{call.service}:{call.action} is no action of this server.")
        action = passage.action
        subject = action.subject(call, request, self.unit)
        held = accounts.holdings_of(self.unit, call.principal)
        return policies.explain(
            call, action.permission or action.name, subject, held, self.question.conditions
        )

    def _key_step(self, call: Call, secret: Secret, name: str) -> Explanation:
        """Explain what Secrets Manager asks of KMS for the call, as its caller."""
        inner = replace(
            call,
            account_id=secret.account_id,
            service="kms",
            action=name,
            invoked_by=f"{SERVICE}.amazonaws.com",
        )
        version_id = secret.labels.get(secrets.AWSCURRENT, "")
        request = {
            "KeyId": secret.kms_key_id,
            "EncryptionContext": {"SecretARN": secret.arn, "SecretVersionId": version_id},
        }
        return self._step(inner, request)

    def _secret(self, call: Call, request: Request) -> Secret | None:
        """Return the secret that is asked about, in whichever account; None where there is none."""
        owner = policies.account_of(call, Subject(arn=None, named=request["SecretId"]))
        try:
            return secrets.require_secret(replace(call, account_id=AccountId(owner)), request, self.unit)
        except ApiError:
            return None
