"""The policies that AWS manages and that this server knows: by their ARNs, with documents of this server's own making.

Each allows what its documentation says for the services that are served here (AWS managed policy reference guide).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsManagedPolicy:
    """One policy of AWS."""

    name: str
    path: str = "/"
    id: str
    description: str
    document: str = field(repr=False)

    @property
    def arn(self) -> str:
        """`arn:aws:iam::aws:policy/…`."""
        return f"arn:aws:iam::aws:policy{self.path}{self.name}"


MADE: Final = datetime(2026, 11, 25, tzinfo=UTC)
"""The day from which these documents are."""


def _document(*statements: Mapping[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def _allow(actions: object, resources: object = "*", **more: object) -> dict[str, object]:
    return {"Effect": "Allow", "Action": actions, "Resource": resources, **more}


_READ_ONLY = (
    "cloudformation:Describe*",
    "cloudformation:Get*",
    "cloudformation:List*",
    "cloudtrail:Describe*",
    "cloudtrail:Get*",
    "cloudtrail:List*",
    "cloudtrail:LookupEvents",
    "events:Describe*",
    "events:List*",
    "events:TestEventPattern",
    "iam:Generate*",
    "iam:Get*",
    "iam:List*",
    "iam:Simulate*",
    "kms:Describe*",
    "kms:Get*",
    "kms:List*",
    "lambda:Get*",
    "lambda:List*",
    "logs:Describe*",
    "logs:FilterLogEvents",
    "logs:Get*",
    "logs:List*",
    "rds:Describe*",
    "rds:List*",
    "secretsmanager:DescribeSecret",
    "secretsmanager:GetResourcePolicy",
    "secretsmanager:List*",
    "sns:Get*",
    "sns:List*",
    "sts:GetAccessKeyInfo",
    "sts:GetCallerIdentity",
    "sts:GetSessionToken",
    "tag:Get*",
)
_SECRETS_BESIDE = (
    "cloudformation:CreateChangeSet",
    "cloudformation:DescribeChangeSet",
    "cloudformation:DescribeStackResource",
    "cloudformation:DescribeStacks",
    "cloudformation:ExecuteChangeSet",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSubnets",
    "ec2:DescribeVpcs",
    "kms:DescribeKey",
    "kms:ListAliases",
    "kms:ListKeys",
    "lambda:ListFunctions",
    "rds:DescribeDBClusters",
    "rds:DescribeDBInstances",
    "redshift:DescribeClusters",
    "tag:GetResources",
)
_KEY_POWER = (
    "kms:CreateAlias",
    "kms:CreateKey",
    "kms:DeleteAlias",
    "kms:Describe*",
    "kms:GenerateRandom",
    "kms:Get*",
    "kms:List*",
    "kms:TagResource",
    "kms:UntagResource",
    "iam:ListGroups",
    "iam:ListRoles",
    "iam:ListUsers",
)

_ALL: Final = (
    AwsManagedPolicy(
        name="AdministratorAccess",
        id="ANPATURNLOCKADMINISTR",
        description="Provides full access to AWS services and resources.",
        document=_document(_allow("*")),
    ),
    AwsManagedPolicy(
        name="ReadOnlyAccess",
        id="ANPATURNLOCKREADONLYA",
        description="Provides read-only access to the services of this server; values of secrets are not read.",
        document=_document(_allow(list(_READ_ONLY))),
    ),
    AwsManagedPolicy(
        name="SecretsManagerReadWrite",
        id="ANPATURNLOCKSECRETSRW",
        description="Provides read/write access to AWS Secrets Manager, and what its console needs beside.",
        document=_document(
            _allow(["secretsmanager:*", *_SECRETS_BESIDE], Sid="BasePermissions"),
            _allow(
                [
                    "lambda:AddPermission",
                    "lambda:CreateFunction",
                    "lambda:GetFunction",
                    "lambda:InvokeFunction",
                    "lambda:UpdateFunctionConfiguration",
                ],
                "arn:aws:lambda:*:*:function:SecretsManager*",
                Sid="LambdaPermissions",
            ),
        ),
    ),
    AwsManagedPolicy(
        name="AWSLambdaBasicExecutionRole",
        path="/service-role/",
        id="ANPATURNLOCKLAMBDAEXE",
        description="Provides write permissions to CloudWatch Logs.",
        document=_document(_allow(["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"])),
    ),
    AwsManagedPolicy(
        name="AWSKeyManagementServicePowerUser",
        id="ANPATURNLOCKKMSPOWERU",
        description="Provides access to AWS Key Management Service (KMS).",
        document=_document(_allow(list(_KEY_POWER))),
    ),
)

AWS_MANAGED: Final[Mapping[str, AwsManagedPolicy]] = MappingProxyType({policy.arn: policy for policy in _ALL})
"""By ARN."""
