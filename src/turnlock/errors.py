"""Every error that Turnlock raises, in one tree.

    TurnlockError
    ├── ApiError                          goes to the caller in AWS's form: a code, a status, a sentence
    │   ├── ResourceNotFoundException … (the services' own codes)
    │   ├── AccessDeniedException … (codes that every service has)
    │   └── InternalServiceError          the only fault: says nothing about its cause
    ├── ConfigurationError                what the operator asked for cannot be done; ends the process with its sentence
    │   └── SchemaTooNew
    ├── StoreError                        the store could not do its work
    │   ├── CommitFailed
    │   │   └── Contended                 tells its caller to try again: ThrottlingException
    │   └── StaleFence
    ├── EgressFailed                      an address outside gave no usable answer
    │   └── EgressRefused                 it may not be asked at all
    ├── SealBroken                        stored bytes are not what was sealed: an alarm, never another value
    ├── AnswerMismatch                    an action's answer does not fit its service model: a bug of ours
    └── FunctionError                     a function ended in an error, a time-out or not at all

An error's docstring is its default message. An ApiError is turned into wire bytes in one place, `wire`; whatever is not
an ApiError reaches the caller as InternalServiceError and nothing more.
"""

from __future__ import annotations

from typing import ClassVar


class TurnlockError(Exception):
    """Something in Turnlock went wrong."""

    def __init__(self, message: str | None = None) -> None:
        self.message = message if message is not None else (type(self).__doc__ or "").strip()
        super().__init__(self.message)


class ApiError(TurnlockError):
    """The request could not be carried out."""

    status: ClassVar[int] = 400

    @property
    def code(self) -> str:
        """The error code on the wire, such as `ResourceNotFoundException`."""
        return type(self).__name__


# Secrets Manager's own codes (its service model).


class DecryptionFailure(ApiError):
    """Secrets Manager can't decrypt the protected secret text using the provided KMS key."""


class EncryptionFailure(ApiError):
    """Secrets Manager can't encrypt the protected secret text using the provided KMS key. Check that the KMS key is available, enabled, and not in an invalid state."""


class InvalidNextTokenException(ApiError):
    """The NextToken value is invalid."""


class InvalidParameterException(ApiError):
    """The parameter name or value is invalid."""


class InvalidRequestException(ApiError):
    """A parameter value is not valid for the current state of the resource."""


class LimitExceededException(ApiError):
    """The request failed because it would exceed one of the Secrets Manager quotas."""


class MalformedPolicyDocumentException(ApiError):
    """This resource policy contains a syntax error."""


class PreconditionNotMetException(ApiError):
    """The request failed because you did not complete all the prerequisite steps."""


class PublicPolicyException(ApiError):
    """This resource policy grants broad access to your secret."""


class ResourceExistsException(ApiError):
    """A resource with the ID you requested already exists."""


class ResourceNotFoundException(ApiError):
    """Secrets Manager can't find the specified secret."""


# RDS's own codes: the names of its model's shapes, which have other codes on the wire, and two that the model lacks.


class DBClusterAlreadyExistsFault(ApiError):
    """DB Cluster already exists"""


class DBClusterNotFoundFault(ApiError):
    """The DB cluster was not found."""


class GlobalClusterNotFoundFault(ApiError):
    """The global cluster was not found."""


class DBInstanceAlreadyExistsFault(ApiError):
    """DB Instance already exists"""


class DBInstanceNotFoundFault(ApiError):
    """The DB instance was not found."""


class InstanceQuotaExceededFault(ApiError):
    """The request would result in you exceeding the allowed number of DB instances."""


class InsufficientDBInstanceCapacityFault(ApiError):
    """This server cannot run a DB instance of that engine."""


class InvalidDBClusterStateFault(ApiError):
    """The requested operation can't be performed while the cluster is in this state."""


class InvalidDBInstanceStateFault(ApiError):
    """The DB instance isn't in a valid state."""


class InvalidParameterCombination(ApiError):
    """Parameters that must not be used together were used together."""


class InvalidParameterValue(ApiError):
    """An invalid or out-of-range value was supplied for the input parameter."""


# IAM's and STS's own codes (their service models; the wire spells them as each protocol does).


class DeleteConflictException(ApiError):
    """Cannot delete entity, something is still attached to it."""


class EntityAlreadyExistsException(ApiError):
    """The entity exists already."""


class ExpiredIdentityToken(ApiError):
    """The web identity token that was passed is expired or is not valid."""

    @property
    def code(self) -> str:
        """STS calls it as it calls its own tokens' end, with another status."""
        return "ExpiredTokenException"


class InvalidAuthenticationCodeException(ApiError):
    """Authentication code for device is not valid."""


class InvalidIdentityTokenException(ApiError):
    """The web identity token that was passed could not be validated."""


class IDPCommunicationErrorException(ApiError):
    """The identity provider could not be reached."""


class IDPRejectedClaimException(ApiError):
    """The identity provider's claim was rejected."""


class InvalidInputException(ApiError):
    """An invalid or out-of-range value was supplied for an input parameter."""


class NoSuchEntityException(ApiError):
    """The entity cannot be found."""


class PolicyEvaluationException(ApiError):
    """The policies could not be evaluated."""


class PackedPolicyTooLargeException(ApiError):
    """The session policies and tags are larger together than a session can carry."""


class PasswordPolicyViolationException(ApiError):
    """The password does not meet what the account demands of passwords."""


class UnmodifiableEntityException(ApiError):
    """Only the service that depends on this entity can change it."""


# KMS's own codes (its service model); it shares LimitExceededException and MalformedPolicyDocumentException.


class AlreadyExistsException(ApiError):
    """The request was rejected because it attempted to create a resource that already exists."""


class DisabledException(ApiError):
    """The request was rejected because the specified KMS key is not enabled."""


class DryRunOperationException(ApiError):
    """The request would have succeeded, but the DryRun option is set."""


class IncorrectKeyException(ApiError):
    """The key ID in the request does not identify a CMK that can perform this operation."""


class InvalidAliasNameException(ApiError):
    """The request was rejected because the specified alias name is not valid."""


class InvalidArnException(ApiError):
    """The request was rejected because a specified ARN, or an ARN in a key policy, is not valid."""


class InvalidCiphertextException(ApiError):
    """The request was rejected because the ciphertext, or what was authenticated with it, is not valid."""


class InvalidGrantIdException(ApiError):
    """The request was rejected because the specified GrantId is not valid."""


class InvalidGrantTokenException(ApiError):
    """The request was rejected because the specified grant token is not valid."""


class InvalidKeyUsageException(ApiError):
    """The request was rejected because the KMS key cannot be used in this way."""


class InvalidMarkerException(ApiError):
    """The request was rejected because the marker that specifies where pagination should next begin is not valid."""


class KMSInvalidMacException(ApiError):
    """The request was rejected because the HMAC verification failed."""


class KMSInvalidSignatureException(ApiError):
    """The request was rejected because the signature verification failed."""


class KMSInvalidStateException(ApiError):
    """The request was rejected because the state of the specified resource is not valid for this request."""


class NotFoundException(ApiError):
    """The request was rejected because the specified entity or resource could not be found."""


class TagException(ApiError):
    """The request was rejected because one or more tags are not valid."""


class UnsupportedOperationException(ApiError):
    """The request was rejected because a specified parameter is not supported or a specified resource is not valid for this operation."""


# Lambda's own codes (its service model), and those that CloudWatch Logs has alike.


class InvalidParameterValueException(ApiError):
    """One of the parameters in the request is not valid."""


class InvalidRequestContentException(ApiError):
    """The request body could not be parsed as JSON, or a request header is invalid."""


class PolicyLengthExceededException(ApiError):
    """The permissions policy for the resource is too large."""


class PreconditionFailedException(ApiError):
    """The RevisionId provided does not match the latest RevisionId for the Lambda function or alias."""


class RequestTooLargeException(ApiError):
    """The request payload exceeded the Invoke request body JSON input quota."""


class ResourceConflictException(ApiError):
    """The resource already exists, or another operation is in progress."""


class ResourceAlreadyExistsException(ApiError):
    """The resource already exists."""


class TooManyRequestsException(ApiError):
    """The request throughput limit was exceeded."""


# Codes that every AWS service has (its "Common Errors" page).


class AccessDeniedException(ApiError):
    """You do not have sufficient access to perform this action."""


class ExpiredTokenException(ApiError):
    """The security token included in the request is expired"""


class IncompleteSignatureException(ApiError):
    """The request signature does not conform to AWS standards."""


class InvalidSignatureException(ApiError):
    """The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details."""


class MissingAuthenticationTokenException(ApiError):
    """Missing Authentication Token"""


class RequestEntityTooLargeException(ApiError):
    """The request is larger than this service accepts."""

    status: ClassVar[int] = 413


class SerializationException(ApiError):
    """The request body could not be read."""


class ThrottlingException(ApiError):
    """Rate exceeded"""


class UnknownOperationException(ApiError):
    """The requested operation is not known to this service."""


class UnrecognizedClientException(ApiError):
    """The security token included in the request is invalid."""


class ValidationException(ApiError):
    """The input fails to satisfy the constraints specified by the service."""


class InternalServiceError(ApiError):
    """An error occurred on the server side."""

    status: ClassVar[int] = 500


# Errors that stay inside.


class ConfigurationError(TurnlockError):
    """The configuration cannot be used."""


class SchemaTooNew(ConfigurationError):
    """The store was migrated by a newer Turnlock than this one; run that version or newer."""


class StoreError(TurnlockError):
    """The store could not do its work."""


class CommitFailed(StoreError):
    """The commit failed: nothing of the unit of work was kept."""


class Contended(CommitFailed):
    """Others changed the same again and again: nothing of the unit of work was kept."""


class StaleFence(StoreError):
    """The lease was lost: another holder has a higher fencing number."""


class EgressFailed(TurnlockError):
    """The address did not answer as it should."""


class EgressRefused(EgressFailed):
    """The address may not be reached from here."""


class SealBroken(TurnlockError):
    """Stored bytes are not what was sealed under this name: altered, moved or sealed under another key."""

    def __init__(self, message: str | None = None, *, row: str | None = None) -> None:
        super().__init__(message)
        self.row = row
        """What is broken, as the alarm has named it in the log; None where nobody has told of it yet."""


class AnswerMismatch(TurnlockError):
    """The answer does not fit its service model."""


class FunctionError(TurnlockError):
    """The function did not answer."""
