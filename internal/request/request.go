// Package request is what people ask of Relatch and what they are answered: the
// contract between the function override and the command relatch.
//
// A request is an HTTP POST to override's function URL, signed with AWS Signature
// Version 4 for the service lambda: AWS proves who asks, as long as nobody may
// invoke the function but through its URL (condition lambda:InvokedViaFunctionUrl).
// The body is JSON, content-type application/json, of at most MaxBody bytes, one of
//
//	{"do":"justify","pool_id":"…","sub":"…","reason":"…","ticket":"…","cause":"lost_device","request_id":"…"}
//	{"do":"approve","pool_id":"…","sub":"…","justification":"J-…"}
//	{"do":"end","pool_id":"…","sub":"…"}
//
// Every other path than / is refused, and a member that is not of these, so nobody can name an author, an
// approver or a time: these are the caller, the caller and the function's clock.
//
//   - justify records a reason for the user's override, made or to be made by the
//     caller. The cause defaults to "other". The request_id is the client's own,
//     to tell two requests apart that are the same otherwise. A reason or ticket
//     that has the user's name or address in it is refused: the ledger has neither.
//   - approve says that the caller approves of a justification of the user. The
//     first approval stands, and counts if it comes as early as a justification must.
//   - end has the user's open override ended now.
//
// The answer is an Answer with status 201, or 200 if all of it was there before,
// or 202 to end, which is done a moment later. Otherwise it is a Problem, content
// type application/problem+json (RFC 9457). A refusal leaves nothing behind; after
// Unavailable the same request may be sent again, and is done once. Only a ticket
// that somebody takes for another user at the same moment is refused with a
// justification kept as evidence: that Problem has its ID.
//
// The package refuses to know HTTP servers, AWS and what is on record: it is
// values and checks.
package request

import (
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json"

	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/trail"
)

// Do is what is asked for. The set is closed: add, never rename.
type Do string

// What can be asked for.
const (
	Justify Do = "justify"
	Approve Do = "approve"
	End     Do = "end"
)

// The limits of a request: bytes of the body, and characters.
const (
	MaxBody   = 16 * 1024
	MaxReason = 1000
	MaxTicket = 100
	MaxID     = 128 // of a pool, a sub, a justification and a request
)

// Request is what somebody asks.
type Request struct {
	Do   Do         `json:"do"`
	Pool mfa.PoolID `json:"pool_id"`
	Sub  mfa.Sub    `json:"sub"`
	// Of justify. Ticket may be empty if the policy's pattern takes that, and
	// RequestID always.
	Reason    string    `json:"reason,omitzero"`
	Ticket    string    `json:"ticket,omitzero"`
	Cause     mfa.Cause `json:"cause,omitzero"`
	RequestID string    `json:"request_id,omitzero"`
	// Justification is the ID of what approve approves of.
	Justification string `json:"justification,omitzero"`
}

// Answer is what a request is answered that was taken. Times are whole seconds, UTC.
type Answer struct {
	Pool mfa.PoolID `json:"pool_id"`
	Sub  mfa.Sub    `json:"sub"`
	// ID is that of the justification; empty for end.
	ID string `json:"id,omitzero"`
	// At is when what was asked for was recorded first, or asked for.
	At time.Time `json:"at"`
	// Approver is who approved of the justification; empty if nobody has.
	Approver string `json:"approver,omitzero"`
	// Override is the one that is open, if there is one. FailedRules are those that
	// the justification fails for it, with its approval if it has one, and Why says each of them in words. They say
	// what Relatch is going to find: it decides when it looks, and by all
	// justifications of the user.
	Override    string     `json:"override,omitzero"`
	FailedRules []mfa.Rule `json:"failed_rules,omitzero"`
	Why         []string   `json:"why,omitzero"`
}

// Read reads a request. The error is always a *Problem, Malformed or TooLarge,
// and comes with the zero Request.
func Read(body []byte) (Request, error) {
	if len(body) > MaxBody {
		return Request{}, New(TooLarge, fmt.Sprintf("the body has %d bytes; at most %d are taken", len(body), MaxBody))
	}
	var r Request
	if err := json.Unmarshal(body, &r, json.RejectUnknownMembers(true)); err != nil {
		return Request{}, New(Malformed, trail.Plain(err).Error())
	}
	if r.Do == Justify && r.Cause == "" {
		r.Cause = mfa.OtherCause
	}
	if err := r.Check(); err != nil {
		return Request{}, err
	}
	return r, nil
}

// Check reports what keeps override from taking the request, whatever is on
// record. The error is a *Problem, Malformed.
func (r Request) Check() error {
	if wrong := r.wrong(); wrong != "" {
		return New(Malformed, wrong)
	}
	return nil
}

// wrong says what is wrong with the request, or "".
func (r Request) wrong() string {
	justify, approve := r.Do == Justify, r.Do == Approve
	for _, m := range []struct {
		name, value string
		of          bool // this request has it
		most        int  // characters
		id          bool // is not empty and has no space
	}{
		{"pool_id", string(r.Pool), true, MaxID, true},
		{"sub", string(r.Sub), true, MaxID, true},
		{"reason", r.Reason, justify, MaxReason, false},
		{"ticket", r.Ticket, justify, MaxTicket, false},
		{"cause", string(r.Cause), justify, MaxID, true},
		{"request_id", r.RequestID, justify, MaxID, false},
		{"justification", r.Justification, approve, MaxID, approve},
	} {
		switch {
		case !justify && !approve && r.Do != End:
			return "do: is not justify, approve or end"
		case !m.of && m.value != "":
			return fmt.Sprintf("%s: %s has none", m.name, r.Do)
		case m.of && m.id && m.value == "":
			return m.name + ": is missing"
		case utf8.RuneCountInString(m.value) > m.most:
			return fmt.Sprintf("%s: has more than %d characters", m.name, m.most)
		case strings.ContainsFunc(m.value, unreadable):
			return m.name + ": has a control character"
		case m.id && strings.ContainsFunc(m.value, unicode.IsSpace):
			return m.name + ": has a space"
		}
	}
	switch {
	case justify && r.Cause != mfa.LostDevice && r.Cause != mfa.BrokenApp && r.Cause != mfa.OtherCause:
		return "cause: is not lost_device, broken_app or other"
	default:
		return ""
	}
}

// unreadable reports whether the character would have a reader, of an alert or in
// a terminal, see something else than what was written.
func unreadable(r rune) bool {
	return unicode.IsControl(r) || unicode.In(r, unicode.Zl, unicode.Zp, unicode.Bidi_Control)
}

// Record is the justification that the request asks for, by the author at the
// time. Its ID is the same for the same request of the same author, at whatever time.
func (r Request) Record(author string, at time.Time) mfa.Justification {
	name, err := json.Marshal([]string{author, string(r.Pool), string(r.Sub), r.Reason, r.Ticket, string(r.Cause), r.RequestID})
	if err != nil {
		panic(err) // cannot happen: Read takes only text, and AWS says who asks
	}
	sum := sha256.Sum256(name)
	return mfa.Justification{
		ID:     "J-" + base32.StdEncoding.EncodeToString(sum[:10])[:10],
		Reason: r.Reason, Ticket: r.Ticket, Cause: r.Cause, Author: author, At: at.UTC().Truncate(time.Second),
	}
}
