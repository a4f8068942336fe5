package story

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/stackflow/relatch/internal/alert"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/replay"
)

// So many overrides, and days with pages, are told one by one, in so many columns.
const (
	columns       = 80
	manyOverrides = 50
	manyDays      = 31
)

// Period collects what log files come to: the overrides, of which it holds the
// first ones, and the pages by day. Its zero value is ready.
type Period struct {
	overrides []*spell
	known     map[string]*spell // of these, by id
	more      map[string]bool   // further ones that are open
	others    int               // further ones
	paged     map[string]bool   // by incident
	pages     map[string]int    // by day
}

// spell is one override.
type spell struct {
	opened             time.Time
	id                 string
	user, actor, ended string
}

// Tell adds a record and the alerts that went with it. Names are the usernames by sub.
func (d *Period) Tell(r mfa.Record, alerts []alert.Alert, names map[mfa.Sub]string) {
	if d.known == nil {
		d.known, d.more, d.paged, d.pages = map[string]*spell{}, map[string]bool{}, map[string]bool{}, map[string]int{}
	}
	// An incident pages once, when it first becomes critical.
	for _, a := range alerts {
		if a.Severity == mfa.Critical && a.State != mfa.StateResolved && !d.paged[a.Incident] {
			d.paged[a.Incident] = a.State != mfa.StateNoted
			d.pages[r.At.UTC().Format(time.DateOnly)]++
		}
	}
	o := r.Override
	if o == nil {
		return
	}
	s := d.known[o.ID]
	switch {
	case s != nil:
	case len(d.overrides) < manyOverrides:
		s = &spell{id: o.ID, user: (&teller{names: names}).user(r)}
		d.known[o.ID] = s
		d.overrides = append(d.overrides, s)
	default:
		if !d.more[o.ID] {
			d.others++
		}
		if d.more[o.ID] = true; o.Closed != "" {
			delete(d.more, o.ID)
		}
		return
	}
	s.opened = o.OpenedAt // an earlier disable may become known
	if s.actor == "" && r.Cause.EventName != "" {
		s.actor = clean(alert.Who(mfa.Actor{ARN: r.Cause.Actor, Type: r.Cause.ActorType}))
	}
	restore := func(result mfa.Result) bool {
		return slices.ContainsFunc(r.Actions, func(a mfa.Outcome) bool { return a.Do == mfa.Restore && a.Result == result })
	}
	switch at := r.At.UTC().Format("01-02 15:04"); {
	case o.Closed != "":
		s.ended = at + " " + string(o.Closed)
	case restore(mfa.Refused):
		s.ended = "cannot be restored"
	case restore(mfa.Would):
		s.ended = "would end " + at
	case s.ended == "":
		s.ended = "still open"
	}
}

// Write writes each override with who opened it and how and when it would have
// ended, and the pages by day; without an override, nothing.
func (d *Period) Write(p *Paper) {
	if len(d.overrides) == 0 {
		return
	}
	slices.SortStableFunc(d.overrides, func(a, b *spell) int { return cmp.Or(a.opened.Compare(b.opened), cmp.Compare(a.id, b.id)) })
	day, title := "01-02", d.overrides[0].opened.UTC().Format("opened 2006")
	if d.overrides[0].opened.UTC().Year() != d.overrides[len(d.overrides)-1].opened.UTC().Year() {
		day, title = time.DateOnly, "opened          "
	}
	users, actors := len("user"), len("by")
	for _, o := range d.overrides {
		users, actors = max(users, utf8.RuneCountInString(o.user)), max(actors, utf8.RuneCountInString(o.actor))
	}
	room := columns - len(title) - len("01-02 15:04 reenrolled") - 3*len("  ")
	actors = min(actors, max(14, room-users))
	users = min(users, room-actors)
	p.line("%s  %s  %s  %s", title, pad("user", users), pad("by", actors), "ended (UTC)")
	for _, o := range d.overrides {
		p.line("%s  %s  %s  %s", o.opened.UTC().Format(day+" 15:04"), fit(o.user, users), fit(o.actor, actors), o.ended)
	}
	if d.others > 0 {
		p.line("… and %s more: --format json tells them all", replay.Thousands(d.others))
	}
	p.line("")
	d.writePages(p)
	p.line("")
}

func (d *Period) writePages(p *Paper) {
	if len(d.pages) == 0 {
		p.line("no pages")
		return
	}
	p.line("pages by day (UTC)")
	most, later := 0, 0
	for _, n := range d.pages {
		most = max(most, n)
	}
	days := slices.Sorted(maps.Keys(d.pages))
	for i, day := range days {
		n := d.pages[day]
		if i >= manyDays {
			later += n
			continue
		}
		at, _ := time.Parse(time.DateOnly, day)
		p.line("%s  %7s  %s", at.Format("Mon 2006-01-02"), replay.Thousands(n), p.in(red, strings.Repeat("#", max(1, n*min(most, 50)/most))))
	}
	if more := len(days) - manyDays; more > 0 {
		p.line("… and %s on %s more day%s: --format json tells them all", replay.Thousands(later), replay.Thousands(more), plural(more))
	}
}

// fit makes a text that wide, and leaves out its middle if it is longer.
func fit(text string, width int) string {
	letters := []rune(text)
	if over := len(letters) - width; over > 0 {
		half := (width - 1) / 2
		text = string(letters[:half]) + "…" + string(letters[half+over+1:])
	}
	return pad(text, width)
}
