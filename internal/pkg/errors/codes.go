package errors

// The codes. A code is part of the public contract: it is never renamed, only
// retired. Each has a sentence in internal/i18n, and a test says so.
const (
	ErrInternal    = "INTERNAL"
	ErrUnavailable = "UNAVAILABLE"
	ErrNotFound    = "NOT_FOUND"
	ErrForbidden   = "FORBIDDEN"
	ErrSignedOut   = "SIGNED_OUT"
	ErrCrossOrigin = "CROSS_ORIGIN"
	ErrMethod      = "METHOD_NOT_ALLOWED"
	ErrMediaType   = "UNSUPPORTED_MEDIA_TYPE" // params type, expected
	ErrTooLarge    = "TOO_LARGE"
	ErrTooMany     = "TOO_MANY_REQUESTS"
	ErrAppendOnly  = "APPEND_ONLY" // somebody tries to change a record

	// Form input.
	ErrRequired       = "REQUIRED"
	ErrTooLong        = "TOO_LONG"
	ErrTooShort       = "TOO_SHORT"
	ErrOutOfRange     = "OUT_OF_RANGE"
	ErrNotANumber     = "NOT_A_NUMBER"
	ErrInvalidChoice  = "INVALID_CHOICE"
	ErrInvalidName    = "INVALID_NAME" // RFC 1035 label
	ErrInvalidText    = "INVALID_TEXT" // not UTF-8, or control characters
	ErrInvalidImage   = "INVALID_IMAGE"
	ErrInvalidSSHKey  = "INVALID_SSH_KEY"
	ErrPrivateSSHKey  = "PRIVATE_SSH_KEY"
	ErrForbiddenField = "FORBIDDEN_FIELD"
	ErrNameTaken      = "NAME_TAKEN"
	ErrTooManyFilters = "TOO_MANY_FILTERS"
	ErrNoSuchPerson   = "NO_SUCH_PERSON"
	ErrNoSuchGroup    = "NO_SUCH_GROUP"
	ErrLastOwner      = "LAST_OWNER" // nobody could give the role back
	ErrNameTooLong    = "VM_NAME_TOO_LONG"
	ErrNameMismatch   = "NAME_MISMATCH" // typed confirmation differs

	// What programs send. A person's form cannot be wrong in these ways.
	ErrMalformedJSON     = "MALFORMED_JSON"
	ErrDuplicateField    = "DUPLICATE_FIELD"     // one name twice in an object
	ErrWrongType         = "WRONG_TYPE"          // param expected, a JSON type
	ErrPrecondition      = "PRECONDITION_FAILED" // If-Match
	ErrIdempotencyKey    = "IDEMPOTENCY_KEY_INVALID"
	ErrIdempotencyReused = "IDEMPOTENCY_KEY_REUSED"  // for another request
	ErrIdempotencyBusy   = "IDEMPOTENCY_KEY_IN_USE"  // the first request is not answered yet
	ErrIdempotencyGone   = "IDEMPOTENCY_ANSWER_GONE" // done before; its answer is not kept

	// Accounts.
	ErrBadCredentials  = "BAD_CREDENTIALS"
	ErrSetupLink       = "SETUP_LINK_INVALID"
	ErrPasswordWeak    = "PASSWORD_TOO_SHORT"
	ErrPasswordRepeat  = "PASSWORD_REPEAT" // the second one differs
	ErrPasswordCommon  = "PASSWORD_COMMON" // leaked somewhere, or soon guessed
	ErrPasswordSame    = "PASSWORD_UNCHANGED"
	ErrPasswordWrong   = "PASSWORD_WRONG" // the present one, asked again
	ErrNoPassword      = "NO_PASSWORD"    // the account has none
	ErrConfirm         = "CONFIRMATION_REQUIRED"
	ErrLocalOff        = "LOCAL_SIGN_IN_OFF"
	ErrAccountDisabled = "ACCOUNT_DISABLED" // said only to who has proved that it is his

	// Sign-in with an OpenID Connect issuer. Param issuer is its name.
	ErrOIDCOff       = "OIDC_OFF"         // none is set up
	ErrOIDCDown      = "OIDC_UNAVAILABLE" // the issuer does not answer
	ErrOIDCSetup     = "OIDC_MISCONFIGURED"
	ErrOIDCDenied    = "OIDC_DENIED" // the issuer said no
	ErrOIDCState     = "OIDC_STATE"  // not an answer to a question of this browser
	ErrOIDCCode      = "OIDC_CODE"   // used or too old
	ErrOIDCToken     = "OIDC_TOKEN"  // cannot be believed
	ErrOIDCAudience  = "OIDC_AUDIENCE"
	ErrOIDCClock     = "OIDC_CLOCK"
	ErrOIDCUnproved  = "OIDC_EMAIL_UNVERIFIED"
	ErrOIDCName      = "OIDC_NAME" // no claim that can be an account name
	ErrOIDCGroups    = "OIDC_NOT_ALLOWED"
	ErrOIDCNoAccount = "OIDC_NO_ACCOUNT" // and none is made
	ErrOIDCNameTaken = "OIDC_ACCOUNT_EXISTS"
	ErrOIDCLinked    = "OIDC_LINKED_ELSEWHERE"
	ErrOIDCOther     = "OIDC_OTHER_PERSON"
	ErrOIDCOld       = "OIDC_NOT_ASKED_AGAIN" // the issuer did not ask for the password
	ErrLastWayIn     = "LAST_WAY_IN"
	ErrHasRole       = "HAS_ROLE" // for good, so that none can be given for a time

	// Tokens of programs.
	ErrTokenScope      = "TOKEN_SCOPE"       // params scope: what is missing, has: what there is
	ErrTokenNotAllowed = "TOKEN_NOT_ALLOWED" // for people who are signed in, never for a token
	ErrTokenLimit      = "TOKEN_LIMIT"       // param max

	// Systems and services.
	ErrHasChildren  = "HAS_CHILDREN"
	ErrHasPending   = "HAS_PENDING_REQUESTS"
	ErrHasHistory   = "HAS_HISTORY" // a service that had VMs keeps their numbers
	ErrNameCollides = "VM_NAMES_COLLIDE"

	// Approval.
	ErrApprovalRequired    = "APPROVAL_REQUIRED"
	ErrPolicyDenied        = "POLICY_DENIED" // a policy forbids the operation; param policy
	ErrSelfApproval        = "SELF_APPROVAL"
	ErrAlreadyDecided      = "ALREADY_DECIDED"
	ErrTicketChanged       = "TICKET_CHANGED"
	ErrReasonRequired      = "REASON_REQUIRED"
	ErrDuplicateRequest    = "DUPLICATE_REQUEST"
	ErrRequesterClosed     = "REQUESTER_CLOSED" // param by; only of a yes
	ErrEnvironmentMismatch = "ENVIRONMENT_MISMATCH"
	ErrClusterIncompatible = "CLUSTER_INCOMPATIBLE"
	ErrTemplateInactive    = "TEMPLATE_INACTIVE"
	ErrSizeInactive        = "SIZE_INACTIVE"
	ErrSpecHashMismatch    = "SPEC_HASH_MISMATCH"

	// VMs.
	ErrVMNotFound     = "VM_NOT_FOUND"
	ErrVMState        = "VM_STATE" // the state refuses the operation
	ErrVMBusy         = "VM_BUSY"  // another operation is under way
	ErrNameCollision  = "NAME_COLLISION"
	ErrSpecRejected   = "SPEC_REJECTED" // the cluster's admission said no
	ErrQuotaExceeded  = "QUOTA_EXCEEDED"
	ErrUIDMismatch    = "UID_MISMATCH"
	ErrCloudInit      = "CLOUD_INIT_INVALID" // the template's first-boot data is not a cloud-config
	ErrOperationStuck = "OPERATION_STUCK"

	// Clusters.
	ErrClusterDegraded     = "CLUSTER_DEGRADED"
	ErrClusterUnreachable  = "CLUSTER_UNREACHABLE"
	ErrClusterUnauthorized = "CLUSTER_UNAUTHORIZED"
	ErrClusterForbidden    = "CLUSTER_FORBIDDEN"
	ErrClusterTLS          = "CLUSTER_TLS_UNTRUSTED"
	ErrClusterDNS          = "CLUSTER_DNS_FAILED"
	ErrClusterRefused      = "CLUSTER_CONNECT_REFUSED"
	ErrClusterTimeout      = "CLUSTER_TIMEOUT"
	ErrNotKubernetes       = "NOT_KUBERNETES"
	ErrKubeVirtMissing     = "KUBEVIRT_MISSING"
	ErrKubeVirtNotReady    = "KUBEVIRT_NOT_READY"
	ErrAddressNotAllowed   = "ADDRESS_NOT_ALLOWED"
	ErrClusterDuplicate    = "CLUSTER_DUPLICATE"
	ErrClusterIdentity     = "CLUSTER_IDENTITY_CHANGED"
	ErrCredentialsLocked   = "CREDENTIALS_LOCKED"
	ErrCredentialsTampered = "CREDENTIALS_TAMPERED"        // sealed for another row, or changed
	ErrReplacementPending  = "CLUSTER_REPLACEMENT_PENDING" // another admin's waits for a second one; param by
	ErrReplacementGone     = "CLUSTER_REPLACEMENT_GONE"    // answered, or too old
	ErrClusterDisabled     = "CLUSTER_DISABLED"
	ErrClusterDrained      = "CLUSTER_DRAINED"     // takes no new VMs
	ErrClusterQuarantined  = "CLUSTER_QUARANTINED" // it went back in time, or is another one
	ErrClusterHasVMs       = "CLUSTER_HAS_VMS"     // params vms, orders, namespaces
	ErrInvalidHardware     = "INVALID_HARDWARE"
	ErrInvalidFeature      = "INVALID_FEATURE"
	ErrClusterRestored     = "CLUSTER_RESTORED"   // why: it went back in time; params before, now (resourceVersions)
	ErrVMsDisappeared      = "VMS_DISAPPEARED"    // why: params missing, known
	ErrQuarantineChanged   = "QUARANTINE_CHANGED" // the findings are no more those that were shown
	ErrQuarantineOpen      = "QUARANTINE_OPEN"    // there is something to accept, or no list was read yet
	ErrNotQuarantined      = "NOT_QUARANTINED"
	ErrNamespaceMissing    = "NAMESPACE_MISSING"
	ErrNamespaceRegistered = "NAMESPACE_REGISTERED"
	ErrNamespaceInUse      = "NAMESPACE_IN_USE"
	ErrNamespaceEnding     = "NAMESPACE_TERMINATING" // the cluster is deleting it
	ErrNamespaceSystem     = "NAMESPACE_SYSTEM"      // it is Kubernetes' own
	ErrDraftExpired        = "CLUSTER_DRAFT_EXPIRED"
	ErrNotImplemented      = "NOT_IMPLEMENTED" // the provider cannot do this yet (RFC-0011, RFC-0013, RFC-0014)

	// Pre-flight of a cluster.
	ErrPermissionsMissing = "PERMISSIONS_MISSING" // param count
	ErrPermissionsExcess  = "PERMISSIONS_EXCESS"  // the credential may do far more than it should
	ErrStorageMissing     = "STORAGE_CLASS_MISSING"
	ErrStorageNoDefault   = "STORAGE_CLASS_NO_DEFAULT"
	ErrNodesNotReady      = "NODES_NOT_READY" // params nodes, ready

	ErrPermissionsOptional  = "PERMISSIONS_OPTIONAL" // param count; those that one can do without
	ErrCDIMissing           = "CDI_MISSING"
	ErrSnapshotsMissing     = "SNAPSHOTS_MISSING" // param name: of the API group or feature gate that lacks
	ErrSnapshotClassMissing = "SNAPSHOT_CLASS_MISSING"
	ErrInstanceTypesMissing = "INSTANCETYPES_MISSING"

	// Uploaded kubeconfigs. Params: "path" is the key path, never a value.
	ErrKubeconfigEmpty         = "KUBECONFIG_EMPTY"
	ErrKubeconfigTooLarge      = "KUBECONFIG_TOO_LARGE"
	ErrKubeconfigSyntax        = "KUBECONFIG_SYNTAX"
	ErrKubeconfigEncoding      = "KUBECONFIG_ENCODING"
	ErrKubeconfigDocuments     = "KUBECONFIG_MULTIPLE_DOCUMENTS"
	ErrKubeconfigAlias         = "KUBECONFIG_ALIAS_FORBIDDEN"
	ErrKubeconfigTooComplex    = "KUBECONFIG_TOO_COMPLEX"
	ErrKubeconfigDuplicateKey  = "KUBECONFIG_DUPLICATE_KEY"
	ErrKubeconfigDuplicateName = "KUBECONFIG_DUPLICATE_NAME"
	ErrKubeconfigUnknownField  = "KUBECONFIG_UNKNOWN_FIELD"
	ErrKubeconfigKind          = "KUBECONFIG_WRONG_KIND"
	ErrKubeconfigSecret        = "KUBECONFIG_SECRET_UNCLEAR"
	ErrKubeconfigNoContext     = "KUBECONFIG_NO_CONTEXT"
	ErrKubeconfigReference     = "KUBECONFIG_BROKEN_REFERENCE"
	ErrKubeconfigExec          = "KUBECONFIG_EXEC_FORBIDDEN"
	ErrKubeconfigAuthProvider  = "KUBECONFIG_AUTH_PROVIDER_FORBIDDEN"
	ErrKubeconfigFilePath      = "KUBECONFIG_FILE_PATH_FORBIDDEN"
	ErrKubeconfigProxy         = "KUBECONFIG_PROXY_FORBIDDEN"
	ErrKubeconfigInsecureTLS   = "KUBECONFIG_INSECURE_TLS_FORBIDDEN"
	ErrKubeconfigImpersonation = "KUBECONFIG_IMPERSONATION_FORBIDDEN"
	ErrKubeconfigBasicAuth     = "KUBECONFIG_BASIC_AUTH_FORBIDDEN"
	ErrKubeconfigHTTPS         = "KUBECONFIG_HTTPS_REQUIRED"
	ErrKubeconfigServer        = "KUBECONFIG_SERVER_INVALID"
	ErrKubeconfigCA            = "KUBECONFIG_CA_INVALID"
	ErrKubeconfigCAExpired     = "KUBECONFIG_CA_EXPIRED"
	ErrKubeconfigCALeaf        = "KUBECONFIG_CA_NOT_AN_AUTHORITY"
	ErrKubeconfigCACount       = "KUBECONFIG_CA_TOO_MANY"
	ErrKubeconfigClientCert    = "KUBECONFIG_CLIENT_CERTIFICATE_INVALID"
	ErrKubeconfigCertExpired   = "KUBECONFIG_CLIENT_CERTIFICATE_EXPIRED"
	ErrKubeconfigToken         = "KUBECONFIG_TOKEN_INVALID"
	ErrKubeconfigTokenExpired  = "KUBECONFIG_TOKEN_EXPIRED"
	ErrKubeconfigNoCredential  = "KUBECONFIG_NO_CREDENTIAL"
	ErrKubeconfigBothKinds     = "KUBECONFIG_TWO_CREDENTIALS"
)

// kinds registers every code but ErrInternal, whose kind is the zero value.
var kinds = map[string]Kind{
	ErrUnavailable: Unavailable, ErrNotFound: NotFound, ErrForbidden: Forbidden, ErrSignedOut: Unauthenticated,
	ErrCrossOrigin: Forbidden, ErrMethod: Invalid, ErrMediaType: Invalid, ErrAppendOnly: Internal, ErrTooLarge: TooLarge, ErrTooMany: TooMany,

	ErrRequired: Invalid, ErrTooLong: Invalid, ErrTooShort: Invalid, ErrOutOfRange: Invalid, ErrNotANumber: Invalid,
	ErrInvalidChoice: Invalid, ErrInvalidName: Invalid, ErrInvalidText: Invalid, ErrInvalidSSHKey: Invalid, ErrInvalidImage: Invalid,
	ErrPrivateSSHKey: Invalid, ErrForbiddenField: Invalid, ErrNameTaken: Invalid, ErrTooManyFilters: Conflict, ErrNoSuchPerson: Invalid, ErrNoSuchGroup: Invalid, ErrLastOwner: Conflict, ErrNameTooLong: Invalid, ErrNameMismatch: Invalid,

	ErrBadCredentials: Invalid, ErrSetupLink: NotFound, ErrPasswordWeak: Invalid, ErrPasswordRepeat: Invalid, ErrPasswordCommon: Invalid, ErrPasswordSame: Invalid, ErrPasswordWrong: Invalid,
	ErrNoPassword: Conflict, ErrConfirm: Forbidden, ErrLocalOff: Forbidden, ErrAccountDisabled: Forbidden, ErrLastWayIn: Conflict, ErrHasRole: Conflict,

	ErrOIDCOff: NotFound, ErrOIDCDown: Unavailable, ErrOIDCSetup: Unavailable, ErrOIDCDenied: Forbidden, ErrOIDCState: Invalid, ErrOIDCCode: Invalid,
	ErrOIDCToken: Forbidden, ErrOIDCAudience: Forbidden, ErrOIDCClock: Forbidden, ErrOIDCUnproved: Forbidden, ErrOIDCName: Forbidden,
	ErrOIDCGroups: Forbidden, ErrOIDCNoAccount: Forbidden, ErrOIDCNameTaken: Conflict, ErrOIDCLinked: Conflict, ErrOIDCOther: Forbidden, ErrOIDCOld: Forbidden,
	ErrMalformedJSON: Invalid, ErrDuplicateField: Invalid, ErrWrongType: Invalid, ErrPrecondition: Conflict,
	ErrIdempotencyKey: Invalid, ErrIdempotencyReused: Invalid, ErrIdempotencyBusy: Conflict, ErrIdempotencyGone: Conflict,

	ErrTokenScope: Forbidden, ErrTokenNotAllowed: Forbidden, ErrTokenLimit: Conflict,

	ErrHasChildren: Conflict, ErrHasPending: Conflict, ErrHasHistory: Conflict, ErrNameCollides: Invalid,

	ErrApprovalRequired: Conflict, ErrPolicyDenied: Forbidden, ErrSelfApproval: Forbidden, ErrAlreadyDecided: Conflict, ErrTicketChanged: Conflict,
	ErrReasonRequired: Invalid, ErrDuplicateRequest: Conflict, ErrRequesterClosed: Conflict, ErrEnvironmentMismatch: Conflict,
	ErrClusterIncompatible: Invalid, ErrTemplateInactive: Invalid, ErrSizeInactive: Invalid, ErrSpecHashMismatch: Conflict,

	ErrVMNotFound: NotFound, ErrVMState: Conflict, ErrVMBusy: Conflict, ErrNameCollision: Conflict, ErrSpecRejected: Invalid,
	ErrCloudInit: Invalid, ErrQuotaExceeded: Invalid, ErrUIDMismatch: Conflict, ErrOperationStuck: Conflict,

	ErrClusterDegraded: Unavailable, ErrClusterUnreachable: Unavailable, ErrClusterUnauthorized: Unavailable, ErrClusterForbidden: Unavailable,
	ErrClusterTLS: Unavailable, ErrClusterDNS: Unavailable, ErrClusterRefused: Unavailable, ErrClusterTimeout: Unavailable,
	ErrNotKubernetes: Unavailable, ErrKubeVirtMissing: Unavailable, ErrKubeVirtNotReady: Unavailable, ErrAddressNotAllowed: Invalid,
	ErrClusterDuplicate: Conflict, ErrClusterIdentity: Conflict, ErrCredentialsLocked: Unavailable, ErrCredentialsTampered: Unavailable, ErrClusterDisabled: Conflict,
	ErrClusterHasVMs: Conflict, ErrInvalidHardware: Invalid, ErrInvalidFeature: Invalid,
	ErrClusterDrained: Conflict, ErrClusterQuarantined: Unavailable,
	ErrClusterRestored: Unavailable, ErrVMsDisappeared: Unavailable, ErrQuarantineChanged: Conflict, ErrQuarantineOpen: Conflict, ErrNotQuarantined: Conflict,
	ErrReplacementPending: Conflict, ErrReplacementGone: Conflict,
	ErrNamespaceMissing: Invalid, ErrNamespaceRegistered: Invalid, ErrNamespaceInUse: Conflict, ErrNamespaceEnding: Invalid, ErrNamespaceSystem: Invalid, ErrDraftExpired: NotFound,
	ErrNotImplemented: Unavailable, ErrPermissionsMissing: Invalid, ErrPermissionsExcess: Invalid,
	ErrPermissionsOptional: Invalid, ErrCDIMissing: Unavailable, ErrSnapshotsMissing: Unavailable, ErrSnapshotClassMissing: Unavailable, ErrInstanceTypesMissing: Unavailable,
	ErrStorageMissing: Unavailable, ErrStorageNoDefault: Unavailable, ErrNodesNotReady: Unavailable,

	ErrKubeconfigEmpty: Invalid, ErrKubeconfigTooLarge: TooLarge, ErrKubeconfigSyntax: Invalid, ErrKubeconfigEncoding: Invalid,
	ErrKubeconfigDocuments: Invalid, ErrKubeconfigAlias: Invalid, ErrKubeconfigTooComplex: Invalid, ErrKubeconfigDuplicateKey: Invalid,
	ErrKubeconfigDuplicateName: Invalid, ErrKubeconfigUnknownField: Invalid, ErrKubeconfigKind: Invalid, ErrKubeconfigNoContext: Invalid,
	ErrKubeconfigReference: Invalid, ErrKubeconfigExec: Invalid, ErrKubeconfigAuthProvider: Invalid, ErrKubeconfigFilePath: Invalid,
	ErrKubeconfigProxy: Invalid, ErrKubeconfigInsecureTLS: Invalid, ErrKubeconfigImpersonation: Invalid, ErrKubeconfigBasicAuth: Invalid,
	ErrKubeconfigHTTPS: Invalid, ErrKubeconfigServer: Invalid, ErrKubeconfigCA: Invalid, ErrKubeconfigCAExpired: Invalid,
	ErrKubeconfigClientCert: Invalid, ErrKubeconfigCertExpired: Invalid, ErrKubeconfigToken: Invalid, ErrKubeconfigTokenExpired: Invalid,
	ErrKubeconfigSecret: Invalid, ErrKubeconfigNoCredential: Invalid, ErrKubeconfigBothKinds: Invalid, ErrKubeconfigCALeaf: Invalid, ErrKubeconfigCACount: Invalid,
}

// Codes lists every code, for the tests that want a sentence for each.
func Codes() []string {
	all := []string{ErrInternal}
	for c := range kinds {
		all = append(all, c)
	}
	return all
}
