"""What of IAM's model this server does not do, each with the reason: nothing is left out in silence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final


def _because(reason: str, *names: str) -> Iterable[tuple[str, str]]:
    return ((name, reason) for name in names)


IAM_NOT_SERVED: Final[Mapping[str, str]] = MappingProxyType(
    dict(
        [
            *_because(
                "SAML providers are not served; OpenID Connect does the same for workloads",
                "CreateSAMLProvider",
                "DeleteSAMLProvider",
                "GetSAMLProvider",
                "ListSAMLProviderTags",
                "ListSAMLProviders",
                "TagSAMLProvider",
                "UntagSAMLProvider",
                "UpdateSAMLProvider",
            ),
            *_because(
                "no service here takes certificates from IAM",
                "DeleteServerCertificate",
                "DeleteSigningCertificate",
                "GetServerCertificate",
                "ListServerCertificateTags",
                "ListServerCertificates",
                "TagServerCertificate",
                "UntagServerCertificate",
                "UpdateServerCertificate",
                "UpdateSigningCertificate",
                "UploadServerCertificate",
                "UploadSigningCertificate",
            ),
            *_because(
                "no service here takes SSH keys or credentials of its own",
                "CreateServiceSpecificCredential",
                "DeleteSSHPublicKey",
                "DeleteServiceSpecificCredential",
                "GetSSHPublicKey",
                "ResetServiceSpecificCredential",
                "UpdateSSHPublicKey",
                "UpdateServiceSpecificCredential",
                "UploadSSHPublicKey",
            ),
            *_because(
                "there is no organisation of accounts",
                "DisableOrganizationsRootCredentialsManagement",
                "DisableOrganizationsRootSessions",
                "EnableOrganizationsRootCredentialsManagement",
                "EnableOrganizationsRootSessions",
                "GenerateOrganizationsAccessReport",
                "GetOrganizationsAccessReport",
                "ListOrganizationsFeatures",
            ),
            *_because(
                "rights are delegated with roles and trust policies here",
                "AcceptDelegationRequest",
                "AcquireRole",
                "AssociateDelegationRequest",
                "CreateDelegationRequest",
                "GetDelegationRequest",
                "GetRoleTemplateVersion",
                "ListDelegationRequests",
                "RejectDelegationRequest",
                "SendDelegationToken",
                "UpdateDelegationRequest",
            ),
            *_because(
                "this server issues no web identity tokens of its own",
                "DisableOutboundWebIdentityFederation",
                "EnableOutboundWebIdentityFederation",
                "GetOutboundWebIdentityFederationInfo",
            ),
            *_because(
                "services here act by the roles that they are given, and have none of their own",
                "CreateServiceLinkedRole",
                "DeleteServiceLinkedRole",
                "GetServiceLinkedRoleDeletionStatus",
            ),
            *_because(
                "there is no sign-in address that an alias would be part of",
                "CreateAccountAlias",
                "DeleteAccountAlias",
            ),
            *_because(
                "AWS's default password policy holds for every account",
                "DeleteAccountPasswordPolicy",
                "UpdateAccountPasswordPolicy",
            ),
            *_because(
                "accounts have no such properties or preferences here",
                "GetAccountProperties",
                "PutAccountProperties",
                "SetSecurityTokenServicePreferences",
            ),
            *_because(
                "the trail tells which rights were used, and when",
                "GenerateServiceLastAccessedDetails",
                "GetHumanReadableSummary",
                "GetServiceLastAccessedDetails",
                "GetServiceLastAccessedDetailsWithEntities",
                "ListPoliciesGrantingServiceAccess",
            ),
            *_because(
                "GetAccountAuthorizationDetails and GetAccessKeyLastUsed tell the same",
                "GenerateCredentialReport",
                "GetCredentialReport",
            ),
        ]
    )
)
"""Operations that have no handler, and why; with the handlers they are the whole model."""

SIMULATION: Final = frozenset(
    {
        "GetContextKeysForCustomPolicy",
        "GetContextKeysForPrincipalPolicy",
        "SimulateCustomPolicy",
        "SimulatePrincipalPolicy",
    }
)
"""Operations that the rooms of the policy language carry out."""
