package report

import (
	"fmt"
	"strings"
	"time"

	"github.com/stackflow/relatch/internal/alert"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/story"
)

// row is an override in the words of the text and of the page.
type row struct {
	*Override
	User, By, Opened, Closed, Lasted, EndedAs, Late string
	// Roles, Because and Proof may be empty.
	Roles, Because, Proof string
	Overdue               bool
	Anchor                string // on the page
}

func newRow(o *Override) row {
	r := row{
		Override: o, User: o.Username, By: alert.Who(mfa.Actor{ARN: o.Actor, Type: o.ActorType}),
		Opened: moment(o.OpenedAt), Lasted: Length(o.Seconds), EndedAs: ended(o.Ended), Roles: list(o.Roles),
		Because: strings.Join(o.Why, "; "), Overdue: o.overdue(), Anchor: o.ID,
	}
	if r.User == "" {
		r.User = string(o.User.Sub)
	}
	if r.Roles == "" && o.Required {
		r.Roles = "a required role"
	}
	if !o.ClosedAt.IsZero() {
		r.Closed = moment(o.ClosedAt)
	}
	switch {
	case o.Brief:
		r.Lasted = "at most " + r.Lasted
	case o.ClosedAt.IsZero():
		r.Lasted += " so far"
	}
	if o.LateSeconds > 0 {
		r.Late = Length(o.LateSeconds)
	}
	if j := o.Justification; j != nil {
		r.Proof = strings.Join(present(j.Ticket, cause(j.Cause), "by "+alert.Who(mfa.Actor{ARN: j.Author}), approved(j)), ", ")
		if o.Justified {
			r.Because = j.Reason
		} else {
			r.Proof = "claimed: " + j.Reason + "; " + r.Proof
		}
	}
	for _, text := range []*string{&r.User, &r.By, &r.Roles, &r.Because, &r.Proof} {
		*text = story.Line(*text)
	}
	return r
}

// Verdict says whether the override was justified, so that nobody overlooks it.
func (r row) Verdict() string {
	if r.Justified {
		return "justified"
	}
	return "NOT JUSTIFIED"
}

// Again says how often MFA was switched off again.
func (r row) Again() string {
	switch r.Repeated {
	case 0:
		return ""
	case 1:
		return "switched off once more"
	default:
		return fmt.Sprintf("switched off %d times more", r.Repeated)
	}
}

// ended is how an override ended, as people say it.
func ended(e mfa.End) string {
	switch e {
	case mfa.Restored:
		return "restored"
	case mfa.Reenabled:
		return "re-enabled"
	case mfa.Reenrolled:
		return "re-enrolled"
	case mfa.Gone:
		return "user deleted"
	case Unrestorable:
		return "cannot be restored"
	case StillOpen:
		return "still open"
	default:
		return string(e)
	}
}

func cause(c mfa.Cause) string {
	switch c {
	case mfa.LostDevice:
		return "device lost"
	case mfa.BrokenApp:
		return "app broken"
	default:
		return ""
	}
}

func approved(j *mfa.Justification) string {
	if j.Approver == "" {
		return ""
	}
	return "approved by " + alert.Who(mfa.Actor{ARN: j.Approver})
}

func present(all ...string) []string {
	var out []string
	for _, text := range all {
		if text != "" {
			out = append(out, text)
		}
	}
	return out
}

func list[T ~string](all []T) string {
	out := make([]string, len(all))
	for i, x := range all {
		out[i] = string(x)
	}
	return strings.Join(out, ", ")
}

func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") }

// Length is a number of seconds as people say it.
func Length(seconds int64) string {
	switch {
	case seconds < 60:
		return fmt.Sprintf("%d s", seconds)
	case seconds < 3600:
		return fmt.Sprintf("%d min %02d s", seconds/60, seconds%60)
	default:
		return alert.Span(time.Duration(seconds) * time.Second)
	}
}

// span says which period it is: a month, or two times.
func (p Period) span() string {
	switch {
	case p.From.IsZero() && p.To.IsZero():
		return "of all time"
	case p.From.IsZero():
		return "before " + day(p.To)
	case p.To.IsZero():
		return "since " + day(p.From)
	case p.To.Equal(p.From.AddDate(0, 1, 0)) && p.From.Equal(time.Date(p.From.Year(), p.From.Month(), 1, 0, 0, 0, 0, time.UTC)):
		return p.From.Format("January 2006")
	default:
		return day(p.From) + " to " + day(p.To)
	}
}

// day leaves the time of a day out where it is midnight.
func day(t time.Time) string { return strings.TrimSuffix(moment(t), " 00:00:00") }

// sum is a line of the sums: what, and how many.
type sum struct{ Name, Value, Note string }

// lines are the sums in words, the most important first.
func (r *Report) lines() []sum {
	s := r.Sums
	find := func(id string) string {
		for i := range r.All {
			if r.All[i].ID == id {
				return newRow(&r.All[i]).User + ", " + id
			}
		}
		return ""
	}
	out := []sum{{"Overrides", fmt.Sprint(s.Overrides), ""}}
	if before := s.Overrides - s.Opened; before > 0 {
		out[0].Note = fmt.Sprintf("%d of them opened before", before)
	}
	switch {
	case r.Empty:
		out[0].Note = "there was no record to read"
		return out
	case s.Overrides == 0:
		return out
	}
	out = append(out,
		sum{"Justified", fmt.Sprintf("%d of %d", s.Justified, s.Overrides), fmt.Sprintf("%d %%", 100*s.Justified/s.Overrides)},
		sum{"Of a required role", fmt.Sprint(s.Required), ""})
	for _, e := range ends {
		if s.Ended[e] > 0 || e == StillOpen || e == mfa.Restored {
			name := ended(e)
			out = append(out, sum{strings.ToUpper(name[:1]) + name[1:], fmt.Sprint(s.Ended[e]), ""})
		}
	}
	if s.Overdue > 0 {
		out = append(out, sum{"Overdue", fmt.Sprint(s.Overdue), "by more than " + alert.Span(mfa.OverdueAfter)})
	}
	if s.Repeated > 0 {
		out = append(out, sum{"Switched off again", fmt.Sprint(s.Repeated), ""})
	}
	if s.LongestSeconds > 0 {
		out = append(out, sum{"Longest", Length(s.LongestSeconds), find(s.Longest)})
	}
	if s.LatestSeconds > 0 {
		out = append(out, sum{"Latest", Length(s.LatestSeconds), find(s.Latest)})
	}
	return out
}
