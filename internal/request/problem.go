package request

import (
	"net/http"
	"strings"

	"github.com/stackflow/relatch/internal/mfa"
)

// Type says what kind of problem it is. The set is closed: add, never rename.
type Type string

const urn = "urn:relatch:problem:"

// The types, each with its status.
const (
	Malformed            Type = urn + "malformed"             // 400: not a request as this package describes it
	Unidentified         Type = urn + "unidentified"          // 401: AWS does not say who asks
	UnknownPool          Type = urn + "unknown_pool"          // 404: no pool that Relatch guards
	UnknownUser          Type = urn + "unknown_user"          // 404: no user of the pool has the sub
	UnknownJustification Type = urn + "unknown_justification" // 404: the user has no such justification
	FederatedUser        Type = urn + "federated_user"        // 409: MFA is the identity provider's
	UsedTicket           Type = urn + "used_ticket"           // 409: the ticket was recorded for another user
	UsedJustification    Type = urn + "used_justification"    // 409: it has justified an override that has ended
	ApprovedAlready      Type = urn + "approved_already"      // 409: by somebody else
	NothingOpen          Type = urn + "nothing_open"          // 409: no override of the user is open
	TooLarge             Type = urn + "too_large"             // 413
	FailedRules          Type = urn + "failed_rules"          // 422: it would justify no override, or approve of nothing
	NamesUser            Type = urn + "names_user"            // 422: the reason or the ticket has the user's name in it
	Unavailable          Type = urn + "unavailable"           // 503: send it again
)

var types = map[Type]struct {
	status int
	title  string
}{
	Malformed:            {http.StatusBadRequest, "The request cannot be read"},
	Unidentified:         {http.StatusUnauthorized, "Nobody knows who asks"},
	UnknownPool:          {http.StatusNotFound, "Relatch does not guard this pool"},
	UnknownUser:          {http.StatusNotFound, "There is no such user"},
	UnknownJustification: {http.StatusNotFound, "There is no such justification"},
	FederatedUser:        {http.StatusConflict, "The user signs in elsewhere"},
	UsedTicket:           {http.StatusConflict, "The ticket is another user's"},
	UsedJustification:    {http.StatusConflict, "The justification was used before"},
	ApprovedAlready:      {http.StatusConflict, "Somebody else approved before"},
	NothingOpen:          {http.StatusConflict, "No override is open"},
	TooLarge:             {http.StatusRequestEntityTooLarge, "The request is too large"},
	FailedRules:          {http.StatusUnprocessableEntity, "The policy's rules are not met"},
	NamesUser:            {http.StatusUnprocessableEntity, "The text names the user"},
	Unavailable:          {http.StatusServiceUnavailable, "Relatch could not do it now"},
}

// Problem is what a request is answered that was not taken (RFC 9457). It is an
// error. The zero Problem is none; make one with New.
type Problem struct {
	Type   Type   `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	// Detail is a sentence for whoever asked.
	Detail string `json:"detail"`
	// FailedRules are the rules that justify or approve fails, each by its name.
	FailedRules []mfa.Rule `json:"failed_rules,omitzero"`
	// ID is that of a justification which is on record all the same.
	ID string `json:"id,omitzero"`
}

// New makes a Problem of a type.
func New(t Type, detail string, failed ...mfa.Rule) *Problem {
	return &Problem{Type: t, Title: types[t].title, Status: types[t].status, Detail: detail, FailedRules: failed}
}

func (p *Problem) Error() string { return p.Detail }

// Name is the end of the type, such as "used_ticket".
func (t Type) Name() string { return strings.TrimPrefix(string(t), urn) }

// Failed is the problem of a text that fails rules of the policy.
func Failed(rules []mfa.Rule, p mfa.Policy) *Problem {
	said := make([]string, len(rules))
	for i, rule := range rules {
		said[i] = rule.Says(mfa.Facts{Policy: p})
	}
	return New(FailedRules, strings.Join(said, "; "), rules...)
}

// Named is the problem of a text that has the user's name in it.
func Named() *Problem {
	return New(NamesUser, "the reason or the ticket names the user: write it without the username and the address, which the ledger never has")
}

// Used is the problem of a ticket that was recorded for another user.
func Used(ticket string, use mfa.TicketUse) *Problem {
	return New(UsedTicket, mfa.RuleUsed.Says(mfa.Facts{Justification: mfa.Justification{Ticket: ticket, TicketOf: &use}}), mfa.RuleUsed)
}
