package mfa

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"
)

// Cause is why MFA had to be switched off.
type Cause string

// The causes.
const (
	LostDevice Cause = "lost_device"
	BrokenApp  Cause = "broken_app"
	OtherCause Cause = "other"
)

// Justification is a recorded business reason for one override of one user.
type Justification struct {
	// ID is unique within the user's justifications.
	ID       string    `json:"id"`
	Reason   string    `json:"reason"`
	Ticket   string    `json:"ticket"`
	Cause    Cause     `json:"cause,omitempty"`
	Author   string    `json:"author"`
	Approver string    `json:"approver,omitempty"`
	At       time.Time `json:"at"`
	// ApprovedAt is when the approver said so; zero without one.
	ApprovedAt time.Time `json:"approved_at,omitzero"`
	// TicketOf is the use of the ticket for another user that was recorded
	// before; nil if there was none.
	TicketOf *TicketUse `json:"ticket_of,omitempty"`
	// Digest is the Sum, for records to carry. Whoever loads the justification
	// makes it; it is not kept beside it.
	Digest string `json:"-"`
}

// Sum is the SHA-256, in hexadecimal, of the justification as JSON, with its
// approval if it has one.
func (j Justification) Sum() string {
	j.At, j.ApprovedAt = j.At.UTC(), j.ApprovedAt.UTC()
	raw, err := json.Marshal(j)
	if err != nil {
		panic(err) // cannot happen: a justification holds only strings, and times in the years 0 to 9999
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}

// Unapproved is the justification as it was before anybody approved of it.
func (j Justification) Unapproved() Justification {
	j.Approver, j.ApprovedAt = "", time.Time{}
	return j
}

// TicketUse is for whom a ticket was first recorded, and when. Later ones for
// the same user are the same use.
type TicketUse struct {
	Pool PoolID    `json:"pool_id"`
	Sub  Sub       `json:"sub"`
	At   time.Time `json:"at"`
}

// Approval is what the approver of a justification said himself.
type Approval struct {
	Approver string    `json:"approver"`
	At       time.Time `json:"at"`
}

// Of reports whether the use is for the user.
func (u TicketUse) Of(pool PoolID, sub Sub) bool { return u.Pool == pool && u.Sub == sub }

// Rule names one condition of a justification. The set is closed: add, never rename.
type Rule string

// The rules that a justification can fail.
const (
	RuleMissing     Rule = "missing"      // there is no justification for this user
	RuleSelfService Rule = "self_service" // nobody justifies a disable of their own
	RuleAuthor      Rule = "author"       // written by somebody other than the actor
	RuleTooShort    Rule = "too_short"
	RuleBoilerplate Rule = "boilerplate"
	RuleTicket      Rule = "ticket"    // does not match the pattern
	RuleTooEarly    Rule = "too_early" // made longer before the disable than allowed
	RuleTooLate     Rule = "too_late"  // made longer after the disable than allowed
	RuleUsed        Rule = "used"      // another override has used it, or its ticket was recorded for another user before
	RuleApprover    Rule = "approver"  // over budget or required, and no approval in time by somebody who is neither author nor user
)

// Match is how an override is justified.
type Match struct {
	// ID names the justification that counts, or the one that failed the
	// fewest rules; empty if there is none.
	ID string `json:"id,omitempty"`
	// Failed are the rules it failed, and Why says each of them in words. None:
	// the override is justified.
	Failed []Rule   `json:"failed,omitempty"`
	Why    []string `json:"why,omitempty"`
	Cause  Cause    `json:"cause,omitempty"`
	Ticket string   `json:"ticket,omitempty"`
	Digest string   `json:"digest,omitempty"` // of the justification as it was matched
}

// Justified reports whether every rule is met.
func (m Match) Justified() bool { return m.ID != "" && len(m.Failed) == 0 }

// String is the word that records use: "justified" or "unjustified".
func (m Match) String() string {
	if m.Justified() {
		return "justified"
	}
	return "unjustified"
}

// match finds the justification for a disable by actor at the time at. past are
// the user's other overrides.
func match(all []Justification, actor Actor, at time.Time, u User, past []Past, p Policy) Match {
	best := Match{Failed: []Rule{RuleMissing}}
	if actor.Type == Self {
		best.Failed = []Rule{RuleSelfService}
	}
	spent, since := inBudget(past, at, p)
	approval := p.RequireApprover || spent >= p.Budget
	var which Justification
	for _, j := range all {
		var failed []Rule
		fails := func(rule Rule, yes bool) {
			if yes {
				failed = append(failed, rule)
			}
		}
		fails(RuleSelfService, actor.Type == Self)
		fails(RuleAuthor, actor.Type != Self && !actor.wrote(j.Author))
		failed = append(failed, Check(j, p)...)
		fails(RuleTooEarly, j.At.Before(at.Add(-p.Before)))
		fails(RuleTooLate, j.At.After(at.Add(p.Late)))
		fails(RuleUsed, usedBy(past, j.ID) != nil || j.TicketOf != nil)
		fails(RuleApprover, approval && (!j.ApprovableBy(j.Approver, actor, u) || j.ApprovedAt.After(at.Add(p.Late))))
		if best.ID == "" || len(failed) < len(best.Failed) {
			best, which = Match{ID: j.ID, Failed: failed, Cause: j.Cause, Ticket: j.Ticket, Digest: j.Digest}, j
		}
	}
	if !best.Justified() {
		f := Facts{Justification: which, Policy: p, Actor: actor, At: at, Used: usedBy(past, best.ID), Spent: spent, Since: since}
		for _, rule := range best.Failed {
			best.Why = append(best.Why, rule.Says(f))
		}
	}
	return best
}

// inBudget counts the overrides that a disable at the time finds in the policy's
// BudgetSpan, and says when the first of them opened.
func inBudget(past []Past, at time.Time, p Policy) (n int, since time.Time) {
	for _, o := range past {
		if age := at.Sub(o.OpenedAt); age >= 0 && age < p.BudgetSpan {
			if n++; since.IsZero() || o.OpenedAt.Before(since) {
				since = o.OpenedAt
			}
		}
	}
	return n, since
}

// Spent is how many overrides of the budget, of those that have ended, a disable
// at the time finds used.
func (s Standing) Spent(at time.Time, p Policy) int {
	n, _ := inBudget(s.Past, at, p)
	return n
}

// NeedsApprover reports whether a disable at the time is only justified with an
// approver: the policy asks for one, or the user's budget is used up.
func (s Standing) NeedsApprover(at time.Time, p Policy) bool {
	n, _ := inBudget(s.Past, at, p)
	return p.RequireApprover || n >= p.Budget
}

// Check returns the rules that the justification fails by its text alone,
// whatever override it is for.
func Check(j Justification, p Policy) []Rule {
	var failed []Rule
	if shorter(j.Reason, p.MinLength) {
		failed = append(failed, RuleTooShort)
	}
	if boilerplate(j.Reason) {
		failed = append(failed, RuleBoilerplate)
	}
	if p.TicketPattern == nil || !p.TicketPattern.MatchString(j.Ticket) {
		failed = append(failed, RuleTicket)
	}
	return failed
}

// Try is how the justification, by itself, justifies the open override: what the
// next look will find. Without an open override it is the zero Match.
func (s Standing) Try(j Justification, u User, p Policy) Match {
	if s.Override == nil {
		return Match{}
	}
	return match([]Justification{j}, s.Override.Actor, s.Override.OpenedAt, u, s.Past, p)
}

// UsedBy returns the override that has ended and was justified by the
// justification of the ID, nil if there is none.
func (s Standing) UsedBy(id string) *Past { return usedBy(s.Past, id) }

// shorter reports whether a text has fewer than n characters that can be seen, any
// white space counted as one.
func shorter(text string, n int) bool {
	has := -1
	for word := range strings.FieldsSeq(text) {
		if seen := utf8.RuneCountInString(visible(word)); seen > 0 {
			has += seen + 1
		}
		if has >= n {
			return false
		}
	}
	return max(has, 0) < n
}

// visible is the text without the characters that nobody sees.
func visible(text string) string {
	return strings.Map(func(r rune) rune {
		if invisible(r) {
			return -1
		}
		return r
	}, text)
}

// invisible reports whether the character shows nothing and is no space, such as a
// zero-width space, a soft hyphen or an empty braille cell.
func invisible(r rune) bool {
	return r > unicode.MaxASCII && (r == 0x2800 || unicode.In(r, unicode.Cf, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector))
}

func usedBy(past []Past, id string) *Past {
	for i := range past {
		if past[i].Justification == id {
			return &past[i]
		}
	}
	return nil
}

// ApprovableBy reports whether the approver, an ARN, is somebody else than the
// author, who is the actor under whatever name and in whatever role, and than the
// user. The actor is who opened the override; the zero Actor if none is open.
func (j Justification) ApprovableBy(approver string, actor Actor, u User) bool {
	name := lastName(strings.TrimSpace(approver))
	_, kind, _ := splitARN(approver)
	switch {
	case name == "", u.Called(name):
		return false
	case approver == j.Author, strings.EqualFold(name, lastName(j.Author)):
		return false
	case kind == "role" && actor.Is(approver): // which session of it is not said
		return false
	default:
		return !actor.wrote(approver) && !strings.EqualFold(name, lastName(actor.ARN)) && !strings.EqualFold(name, actor.SourceIdentity)
	}
}

// lastName is the name of a user or session at the end of an ARN.
func lastName(arn string) string { return arn[strings.LastIndexAny(arn, "/:")+1:] }

// filler are words that make a text longer and say nothing about this user's case.
var filler = sync.OnceValue(func() map[string]bool {
	words := map[string]bool{}
	for _, w := range strings.Fields(`a above access account admin agreed amet an and any applicable approved as asap asdf asked at bar baz be because been below blah business by can
		change dear disable disabled disabling discussed do dolor dummy emergency fix foo for given hello here i in instructed ipsum is issue
		it justification lorem manager me mentioned mfa n na need needed needs no none not now of off ok on override per please provided
		purpose purposes qux qwer qwerty re reason reasons request requested required requirement requires said see sit sms so some
		something standard support switch switched tbd team temp temporarily temporary test testing text the thing things this
		ticket time to todo totp turn turned uiop urgent urgently user we whatever with work xxx zxcv`) {
		words[w] = true
	}
	return words
})

// boilerplate reports whether the text says nothing: fewer than two different
// words that mean anything, half of the words said before, or hardly any different
// letters.
func boilerplate(text string) bool {
	letters, different := make([]rune, 0, 5), make([]string, 0, 16)
	words, mean, unspaced := 0, 0, false
	for word := range strings.FieldsFuncSeq(text, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsMark(r) && !invisible(r) }) {
		if word = strings.ToLower(visible(word)); word == "" {
			continue
		}
		for _, r := range word {
			if len(letters) < 5 && !slices.Contains(letters, r) {
				letters = append(letters, r)
			}
			unspaced = unspaced || r > unicode.MaxLatin1 && unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar)
		}
		if words++; slices.Contains(different, word) {
			continue
		}
		if different = append(different, word); mean < 2 && !filler()[word] && utf8.RuneCountInString(word) > 1 && !disguised(word) {
			mean++
		}
	}
	// Scripts without spaces between words cannot be counted by words.
	return len(letters) < 5 || mean < 2 && !unspaced || words >= 4 && 2*len(different) <= words
}

// disguised reports whether a word has letters that look like those of another one:
// Latin among Cyrillic or Greek, or letters of full width or of mathematics.
func disguised(word string) bool {
	latin, alike := false, false
	for _, r := range word {
		switch {
		case r >= 'Ａ' && r <= 'ｚ', r >= 0x1D400 && r <= 0x1D7FF:
			return true
		case r <= unicode.MaxASCII || unicode.Is(unicode.Latin, r):
			latin = true
		case unicode.In(r, unicode.Cyrillic, unicode.Greek):
			alike = true
		}
	}
	return latin && alike
}
