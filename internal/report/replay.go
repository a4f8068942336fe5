package report

import (
	"cmp"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stackflow/relatch/internal/alert"
	"github.com/stackflow/relatch/internal/incident"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/story"
)

var (
	//go:embed replay.html
	replayPage string
	//go:embed filter.js
	filterScript string

	replayTemplate = sync.OnceValue(func() *template.Template { return framed(replayPage) })
)

// Replayed is what one replay did, from its records. The zero Replayed is ready
// for use. It keeps what overrides and incidents came to, not the records.
type Replayed struct {
	builder Builder
	book    incident.Book
}

// Add takes a record. Records come in the order in which they were made.
func (r *Replayed) Add(record mfa.Record) {
	r.builder.Add("", record)
	r.book.Add(record)
}

// Replay is what replays did, for one page. The zero Replay is ready for use.
type Replay struct {
	// Cut: they were stopped before everything had been replayed.
	Cut bool

	played []played
	quiet  []string                            // scenarios of which there is nothing to tell
	all    []Override                          // of all of them
	pages  map[time.Time]map[mfa.AlertKind]int // by day
	left   int
}

// played is what the page tells of one replay.
type played struct {
	Name, Deliveries string
	From, To         string
	Ticks            []tick
	Users            []*replayedUser
	Others           []heard // alerts about no override
	Left             int     // users without an override
}

// replayedUser is a user's line on the timeline and below it the overrides.
type replayedUser struct {
	Name, Sub, Roles string
	Bars             []replayedBar
}

// replayedBar is an override on the timeline and in the table.
type replayedBar struct {
	bar
	Due  string // the deadline
	Loud heard
}

// heard is what on-call heard of something.
type heard struct {
	Severity         mfa.Severity // "none" if nothing
	Kinds            []mfa.AlertKind
	Paged            string // the day; empty if it did not page
	At, What, By, IP string
	User             string
	Later            string // when it paged, if that was not at once
}

// Says is the severity so that nobody overlooks a page.
func (h heard) Says() string {
	switch h.Severity {
	case mfa.Critical:
		return "PAGE"
	case noAlert:
		return "no alert"
	default:
		return string(h.Severity)
	}
}

// noAlert stands for the severity and the kind of what nobody heard of.
const noAlert = "none"

func (h *heard) hear(in *incident.Incident) {
	if in.Severity.Rank() > h.Severity.Rank() {
		h.Severity = in.Severity
	}
	for _, kind := range in.Kinds {
		if !slices.Contains(h.Kinds, kind) {
			h.Kinds = append(h.Kinds, kind)
		}
	}
	if !in.PagedAt.IsZero() && h.Paged == "" {
		h.Paged = in.PagedAt.Format(time.DateOnly)
	}
}

// Add takes what a replay did. name is the scenario's, if it is one; deliveries
// says how many there were; users are those in the account at its end. What is open
// is so as of asOf, zero for the last record. The error is that of facts.
func (p *Replay) Add(ctx context.Context, name, deliveries string, r *Replayed, users []mfa.RecordUser, asOf time.Time, facts Facts) error {
	told, err := r.builder.Report(ctx, Period{}, asOf, facts)
	if err != nil {
		return err
	}
	out := played{Name: name, Deliveries: deliveries}
	about := map[string]*heard{}
	for _, in := range r.book.All() {
		if !in.PagedAt.IsZero() {
			p.page(in)
		}
		if in.Override == "" {
			person := ""
			if in.User != nil {
				if person, err = who(ctx, *in.User, facts); err != nil {
					return err
				}
			}
			out.Others = append(out.Others, other(in, person))
			continue
		}
		if about[in.Override] == nil {
			about[in.Override] = &heard{Severity: noAlert}
		}
		about[in.Override].hear(in)
	}
	p.all = append(p.all, told.All...)
	out.draw(&told, about, len(p.played))
	with := map[mfa.RecordUser]bool{}
	for i := range told.All {
		with[told.All[i].User] = true
	}
	for _, u := range users {
		if !with[u] {
			out.Left++
		}
	}
	p.left += out.Left
	if len(out.Users) == 0 && len(out.Others) == 0 {
		if name != "" {
			p.quiet = append(p.quiet, name)
		}
		return nil
	}
	p.played = append(p.played, out)
	return nil
}

// page counts an incident on the day on which it first paged.
func (p *Replay) page(in *incident.Incident) {
	day := in.PagedAt.UTC().Truncate(24 * time.Hour)
	if p.pages == nil {
		p.pages = map[time.Time]map[mfa.AlertKind]int{}
	}
	if p.pages[day] == nil {
		p.pages[day] = map[mfa.AlertKind]int{}
	}
	p.pages[day][in.Kind]++
}

func who(ctx context.Context, u mfa.RecordUser, facts Facts) (string, error) {
	if facts == nil {
		return string(u.Sub), nil
	}
	person, err := facts.Person(ctx, u)
	if err != nil {
		return "", fmt.Errorf("name the user %s: %w", u.Sub, err)
	}
	return cmp.Or(person.Username, string(u.Sub)), nil
}

// other is an incident that is about no override.
func other(in *incident.Incident, person string) heard {
	h := heard{Severity: noAlert, At: moment(in.HeardAt), IP: in.Cause.SourceIP, User: story.Line(person)}
	h.hear(in)
	if in.PagedAt.After(in.HeardAt) {
		h.Later = moment(in.PagedAt)
	}
	h.What = story.Line(strings.Join(present(in.Problem, in.Cause.EventName), "; "))
	if in.Cause.Actor != "" || in.Cause.ActorType != "" {
		h.By = story.Line(alert.Who(mfa.Actor{ARN: in.Cause.Actor, Type: in.Cause.ActorType}))
	}
	return h
}

// draw puts the overrides on the timeline, the users in the order in which their
// first ones opened.
func (p *played) draw(r *Report, about map[string]*heard, n int) {
	if len(r.All) == 0 {
		return
	}
	from, to := r.shown()
	p.From, p.To, p.Ticks = day(from), day(to), ticks(from, to)
	users := map[mfa.RecordUser]*replayedUser{}
	for i := range r.All {
		o := newRow(&r.All[i])
		o.Anchor = fmt.Sprintf("%d-%s", n+1, o.ID)
		u := users[o.Override.User]
		if u == nil {
			u = &replayedUser{Name: o.User, Roles: o.Roles}
			if sub := story.Line(string(o.Override.User.Sub)); sub != o.User {
				u.Sub = sub
			}
			users[o.Override.User] = u
			p.Users = append(p.Users, u)
		}
		b := replayedBar{bar: r.bar(&o, 0, from, to), Due: moment(o.Deadline), Loud: heard{Severity: noAlert}}
		if h := about[o.ID]; h != nil {
			b.Loud = *h
		}
		if len(b.Loud.Kinds) == 0 {
			b.Loud.Kinds = []mfa.AlertKind{noAlert}
		}
		u.Bars = append(u.Bars, b)
	}
}

// The measures of the columns of pages, in units of their view box.
const (
	columnsWidth  = 1200
	columnsHeight = 160
	columnsTop    = 20
	columnMost    = 40  // wide
	columnsDrawn  = 400 // at most; beyond, a column is a longer time
)

// units are what a column can be: how its days are named, and when the next begins.
var units = []struct {
	name, key, label    string
	years, months, days int
	long                time.Duration // roughly
}{
	{"day", time.DateOnly, "2 Jan", 0, 0, 1, 24 * time.Hour},
	{"month", "2006-01", "Jan 2006", 0, 1, 0, 30 * 24 * time.Hour},
	{"year", "2006", "2006", 1, 0, 0, 365 * 24 * time.Hour},
}

// column is a day's or a month's pages.
type column struct {
	Day                       string // or month: "2026-11"
	N, X, Y, Width, H, Center int
	Label                     string // below it; empty for most
}

// dayRow is a day of the table.
type dayRow struct {
	Day, Name string
	N         int
	What      string
}

// days are those with pages, with a column for each day, or longer, from the first
// to the last.
func (p *Replay) days() (rows []dayRow, columns []column, unit string) {
	days := slices.SortedFunc(maps.Keys(p.pages), time.Time.Compare)
	if len(days) == 0 {
		return nil, nil, ""
	}
	first, last := days[0], days[len(days)-1]
	u := units[0]
	for _, longer := range units[1:] {
		if last.Sub(first)/columnsDrawn <= u.long {
			break
		}
		u = longer
	}
	if u.days == 0 {
		first = first.AddDate(0, 0, 1-first.Day())
	}
	if u.years > 0 {
		first = first.AddDate(0, 1-int(first.Month()), 0)
	}
	count := map[string]int{} // by column
	for _, day := range days {
		row := dayRow{Day: day.Format(time.DateOnly), Name: day.Format("Mon 2 Jan 2006")}
		var what []string
		for _, kind := range slices.Sorted(maps.Keys(p.pages[day])) {
			n := p.pages[day][kind]
			row.N += n
			what = append(what, fmt.Sprintf("%d %s", n, kind))
		}
		row.What = strings.Join(what, ", ")
		count[day.Format(u.key)] += row.N
		rows = append(rows, row)
	}
	most := slices.Max(slices.Collect(maps.Values(count)))
	for at := first; !at.After(last); at = at.AddDate(u.years, u.months, u.days) {
		key := at.Format(u.key)
		columns = append(columns, column{Day: key, N: count[key], Label: at.Format(u.label)})
	}
	step := min(columnMost, columnsWidth/float64(len(columns)))
	every := (len(columns) + 9) / 10
	for i := range columns {
		c := &columns[i]
		c.X = int(float64(i) * step)
		c.Width = max(1, int(float64(i+1)*step)-c.X-min(4, int(step/4)))
		c.Center = c.X + c.Width/2
		c.H = (c.N*columnsHeight + most - 1) / most
		c.Y = columnsTop + columnsHeight - c.H
		if i%every > 0 {
			c.Label = ""
		}
	}
	return rows, columns, u.name
}

// HTML writes the page. It needs nothing else: no other file, and a content
// policy that allows only the script in it, by its hash. Without the script the
// page shows everything, and filters nothing.
func (p *Replay) HTML(out io.Writer) error {
	total := Report{All: p.all, Sums: sums(p.all, Period{})}
	rows, columns, unit := p.days()
	pages := 0
	for _, row := range rows {
		pages += row.N
	}
	hash := sha256.Sum256([]byte(filterScript))
	view := struct {
		Head    head
		Title   string
		Script  template.JS
		Cut     bool
		Lines   []sum
		Days    []dayRow
		Columns []column
		Unit    string
		Played  []played
		Quiet   []string
		Left    int
		Ends    []mfa.End
		Kinds   []mfa.AlertKind
	}{
		Head:  head{"Replay: MFA overrides", "sha256-" + base64.StdEncoding.EncodeToString(hash[:])},
		Title: "Replay: MFA overrides", Script: template.JS(filterScript), //nolint:gosec // our own, and nothing is put into it
		Cut: p.Cut, Lines: slices.Insert(total.lines(), 0, sum{"Pages", fmt.Sprint(pages), ""}),
		Days: rows, Columns: columns, Unit: unit, Played: p.played, Quiet: p.quiet, Left: p.left, Kinds: p.kinds(),
	}
	for _, e := range ends {
		if total.Sums.Ended[e] > 0 {
			view.Ends = append(view.Ends, e)
		}
	}
	return replayTemplate().Execute(out, view)
}

// kinds are those of which there is something on the page.
func (p *Replay) kinds() []mfa.AlertKind {
	seen := map[mfa.AlertKind]bool{}
	for i := range p.played {
		for _, u := range p.played[i].Users {
			for _, b := range u.Bars {
				for _, kind := range b.Loud.Kinds {
					seen[kind] = true
				}
			}
		}
		for _, h := range p.played[i].Others {
			for _, kind := range h.Kinds {
				seen[kind] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(seen))
}
