package story

import (
	"cmp"
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

// Period writes what log files come to: each override with who opened it and how
// and when it would have ended, and the pages by day.
func (r *Report) Period(p *Paper) {
	overrides := r.Story.overrides()
	if len(overrides) == 0 {
		return
	}
	told := overrides[:min(len(overrides), manyOverrides)]
	day, title := "01-02", told[0].opened.UTC().Format("opened 2006")
	if told[0].opened.UTC().Year() != told[len(told)-1].opened.UTC().Year() {
		day, title = time.DateOnly, "opened          "
	}
	users, actors := len("user"), len("by")
	for _, o := range told {
		users, actors = max(users, utf8.RuneCountInString(o.user)), max(actors, utf8.RuneCountInString(o.actor))
	}
	room := columns - len(title) - len("01-02 15:04 reenrolled") - 3*len("  ")
	actors = min(actors, max(14, room-users))
	users = min(users, room-actors)
	p.line("%s  %s  %s  %s", title, pad("user", users), pad("by", actors), "ended (UTC)")
	for _, o := range told {
		p.line("%s  %s  %s  %s", o.opened.UTC().Format(day+" 15:04"), fit(o.user, users), fit(o.actor, actors), o.ended)
	}
	if more := len(overrides) - manyOverrides; more > 0 {
		p.line("… and %s more: --format json tells them all", replay.Thousands(more))
	}
	p.line("")
	days, pages := r.Story.pages()
	if len(days) == 0 {
		p.line("no pages")
		p.line("")
		return
	}
	most, later := 0, 0
	for i, day := range days {
		if most = max(most, pages[day]); i >= manyDays {
			later += pages[day]
		}
	}
	p.line("pages by day (UTC)")
	for _, day := range days[:min(len(days), manyDays)] {
		n := pages[day]
		at, _ := time.Parse(time.DateOnly, day)
		p.line("%s  %7s  %s", at.Format("Mon 2006-01-02"), replay.Thousands(n), p.in(red, strings.Repeat("#", max(1, n*min(most, 50)/most))))
	}
	if more := len(days) - manyDays; more > 0 {
		p.line("… and %s on %s more day%s: --format json tells them all", replay.Thousands(later), replay.Thousands(more), plural(more))
	}
	p.line("")
}

// spell is one override.
type spell struct {
	opened             time.Time
	id                 string
	user, actor, ended string
}

// overrides are those of the story in the order in which they opened.
func (s *Story) overrides() []*spell {
	t := teller{names: s.Names}
	var all []*spell
	known := map[string]*spell{}
	for _, c := range s.chapters {
		o := c.record.Override
		if o == nil {
			continue
		}
		now := known[o.ID]
		if now == nil {
			now = &spell{id: o.ID, user: t.user(c.record)}
			known[o.ID] = now
			all = append(all, now)
		}
		now.opened = o.OpenedAt // an earlier disable may become known
		if cause := c.record.Cause; now.actor == "" && cause.EventName != "" {
			now.actor = clean(alert.Who(mfa.Actor{ARN: cause.Actor, Type: cause.ActorType}))
		}
		switch at := c.record.At.UTC().Format("01-02 15:04"); {
		case o.Closed != "":
			now.ended = at + " " + string(o.Closed)
		case slices.ContainsFunc(c.record.Actions, func(a mfa.Outcome) bool { return a.Do == mfa.Restore && a.Result == mfa.Refused }):
			now.ended = "cannot be restored"
		case slices.ContainsFunc(c.record.Actions, func(a mfa.Outcome) bool { return a.Do == mfa.Restore && a.Result == mfa.Would }):
			now.ended = "would end " + at
		case now.ended == "":
			now.ended = "still open"
		}
	}
	slices.SortStableFunc(all, func(a, b *spell) int { return cmp.Or(a.opened.Compare(b.opened), cmp.Compare(a.id, b.id)) })
	return all
}

// pages are the days on which on-call was paged, and how often: once for each
// incident, when it first became critical, and for each critical note.
func (s *Story) pages() (days []string, pages map[string]int) {
	pages = map[string]int{}
	paged := map[string]bool{}
	for _, c := range s.chapters {
		for _, a := range c.alerts {
			if a.Severity != mfa.Critical || a.State == mfa.StateResolved || a.State != mfa.StateNoted && paged[a.Incident] {
				continue
			}
			paged[a.Incident] = a.State != mfa.StateNoted
			day := c.record.At.UTC().Format(time.DateOnly)
			if pages[day]++; pages[day] == 1 {
				days = append(days, day)
			}
		}
	}
	slices.Sort(days)
	return days, pages
}

// fit makes a text that wide, and leaves out its middle if it is longer.
func fit(text string, width int) string {
	letters := []rune(text)
	if over := utf8.RuneCountInString(text) - width; over > 0 {
		half := (width - 1) / 2
		text = string(letters[:half]) + "…" + string(letters[half+over+1:])
	}
	return pad(text, width)
}
