package mfa

import (
	"strings"
	"time"
)

// Kind says what a Change is about. The set is closed: add, never rename.
type Kind string

// The kinds. The first block comes from deliveries, the second one from
// Relatch itself and from people.
const (
	NotRelevant    Kind = "not_relevant"
	FactorsChanged Kind = "factors_changed"
	TokenDeleted   Kind = "token_deleted"
	TokenVerified  Kind = "token_verified"
	PoolChanged    Kind = "pool_changed"
	RoleChanged    Kind = "role_changed"
	UserChanged    Kind = "user_changed"
	GuardChanged   Kind = "guard_changed"

	Justified Kind = "justified"
	Due       Kind = "due"
	Swept     Kind = "swept"
	Asked     Kind = "asked"
)

// Delivered reports whether changes of this kind come from a delivery.
func (k Kind) Delivered() bool {
	switch k {
	case Justified, Due, Swept, Asked, "":
		return false
	default:
		return true
	}
}

// ActorType tells administrators, users acting on themselves and AWS apart.
type ActorType string

// The actor types.
const (
	Admin   ActorType = "admin"
	Self    ActorType = "self"
	Service ActorType = "service"
)

// Actor is who made a call. The zero Actor is an unknown one.
type Actor struct {
	// ARN is userIdentity.arn; for an assumed role it ends in the session name.
	ARN string `json:"arn,omitempty"`
	// Issuer is the ARN of the role behind a session; empty for users.
	Issuer string    `json:"issuer,omitempty"`
	Type   ActorType `json:"type,omitempty"`
	// SourceIdentity is what the identity provider put on the session. It
	// survives role chaining and cannot be changed afterwards.
	SourceIdentity string `json:"source_identity,omitempty"`
}

// Name returns the part of the ARN that a person recognises, such as
// "SupportAdmin/ops-7", or "" for an actor without ARN.
func (a Actor) Name() string {
	_, name, ok := strings.Cut(lastField(a.ARN), "/")
	if !ok {
		return lastField(a.ARN)
	}
	return name
}

// Is reports whether the actor is the given role, in whatever session. CloudTrail
// drops the role's path from the ARN of a session, so names are compared too.
func (a Actor) Is(role string) bool {
	if role == "" || a.ARN == "" {
		return false
	}
	if a.ARN == role || a.Issuer == role {
		return true
	}
	account, kind, rest := splitARN(a.ARN)
	roleAccount, roleKind, roleRest := splitARN(role)
	if kind != "assumed-role" || account != roleAccount {
		return false
	}
	name, _, _ := strings.Cut(rest, "/")
	switch roleKind {
	case "role":
		return name == roleRest[strings.LastIndexByte(roleRest, '/')+1:]
	case "assumed-role":
		roleName, _, _ := strings.Cut(roleRest, "/")
		return name == roleName
	}
	return false
}

// wrote reports whether author, the ARN under which somebody recorded a
// justification, is this actor: the same user, the same role and session, or the
// IAM user of the same account whose name is the actor's source identity. A
// session's name is no such proof: whoever assumes a role chooses it.
func (a Actor) wrote(author string) bool {
	if author == "" || a.ARN == "" {
		return false
	}
	if author == a.ARN {
		return true
	}
	if a.SourceIdentity == "" {
		return false
	}
	account, kind, rest := splitARN(author)
	own, _, _ := splitARN(a.ARN)
	return author == a.SourceIdentity ||
		account == own && kind == "user" && rest[strings.LastIndexByte(rest, '/')+1:] == a.SourceIdentity
}

// splitARN takes arn:aws:sts::ACCOUNT:KIND/REST apart.
func splitARN(arn string) (account, kind, rest string) {
	fields := strings.SplitN(arn, ":", 6)
	if len(fields) < 6 {
		return "", "", ""
	}
	kind, rest, _ = strings.Cut(fields[5], "/")
	return fields[4], kind, rest
}

func lastField(arn string) string {
	return arn[strings.LastIndexByte(arn, ':')+1:]
}

// Change is a hint that a user, a pool or Relatch's own guard should be looked
// at again. It never says how things are now: that is the user pool's to say.
// The zero Change is of no kind and is rejected.
type Change struct {
	// Key is the cause key: addendum.originalEventID, else eventID. Timers,
	// sweeps, justifications and commands have none.
	Key  string
	Kind Kind
	// EventName is the CloudTrail operation, such as "AdminSetUserMFAPreference".
	EventName string
	// EventID is the delivery's own id, also where Key is another one.
	EventID string
	// At is the eventTime: when the call completed, in whole seconds UTC.
	At     time.Time
	Actor  Actor
	Source string // source IP address or AWS service name

	Account string // recipientAccountId
	Region  string

	Pool PoolID // empty for self-service calls; the worker looks the user up
	Sub  Sub

	// Failed is the errorCode of a call that did not happen.
	Failed string
	// Off and On are the factors that the call switched off and on.
	Off, On []Factor
	// Preferred is the factor that the call made the preferred one.
	Preferred Factor
	// Masked: CloudTrail hid what the call set, so nothing is known of it.
	Masked bool
	// Verified is the factor whose token or credential the call verified.
	Verified Factor
	// Sets is what a call on a pool set; nil for every other call. Decide does
	// not read it, it looks at the pool; the account in memory does.
	Sets *PoolSettings
	// Role is the group that the call names.
	Role Role
	// Resources are the names and ARNs that a call on the guard's services
	// names, and Service the first label of its eventSource.
	Service   string
	Resources []string
	// Timer: a Due that the override's own one-time schedule sent.
	Timer bool
	// Replayed names the EventBridge replay that delivered this again.
	Replayed string
	// Claims are tickets that the caller put into the application id, the
	// session name or the source identity. They prove nothing.
	Claims []string
}

// takes reports whether the call can have taken a factor from the user.
func (c *Change) takes() bool {
	return len(c.Off) > 0 || c.Masked
}

// deletes are the factors that the call took together with what they need: the
// token, the credential, the number or address. Only the user can bring them back.
func (c *Change) deletes() []Factor {
	if c.Kind == TokenDeleted || c.Kind == UserChanged {
		return c.Off
	}
	return nil
}

// CountKey names the count of the users whom the change's actor disables in the
// window of its time. It is empty where nobody is counted: the change takes
// nothing, or no administrator made it.
func (c *Change) CountKey() string {
	if !c.counts() {
		return ""
	}
	return ActorKey(c.Actor.ARN, c.At)
}

func (c *Change) counts() bool { return c.takes() && c.Actor.Type == Admin && c.Actor.ARN != "" }

// poolWide reports whether the change concerns a pool and no one user.
func (c *Change) poolWide() bool {
	return c.Kind == PoolChanged || c.Kind == RoleChanged && c.EventName == "DeleteGroup"
}

// NamesUser reports whether a change of this kind is about one user.
func (c *Change) NamesUser() bool {
	return c.Kind != GuardChanged && c.Kind != NotRelevant && !c.poolWide()
}

// PoolSettings is what a call on a pool set. What it does not say is zero.
type PoolSettings struct {
	Mode     Mode
	On, Off  []Factor
	PreToken *bool
}
