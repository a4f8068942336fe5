package report

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/stackflow/relatch/internal/alert"
	"github.com/stackflow/relatch/internal/mfa"
)

//go:embed frame.html
var frame string

//go:embed page.html
var page string

var pageTemplate = sync.OnceValue(func() *template.Template { return framed(page) })

// framed is the template of a page that uses those of the frame.
func framed(page string) *template.Template {
	functions := template.FuncMap{"factors": alert.Names, "ended": ended}
	return template.Must(template.Must(template.New("page").Funcs(functions).Parse(frame)).Parse(page))
}

// head is what the frame says before the page: Script is the source that the
// content policy allows, such as the hash of the page's own; empty allows none.
type head struct{ Title, Script string }

// HTML writes the report as one page that needs nothing else: no script, no
// other file, and a content policy that allows none.
func (r *Report) HTML(out io.Writer) error {
	view := struct {
		Head   head
		Title  string
		Span   string
		AsOf   string
		Lines  []sum
		Rows   []row
		Charts []chart
		Ends   []mfa.End // that occur
	}{Span: Period{r.From, r.To}.span(), Lines: r.lines()}
	view.Title = "MFA overrides, " + view.Span
	view.Head.Title = view.Title
	if !r.AsOf.IsZero() {
		view.AsOf = moment(r.AsOf)
	}
	anchors := map[string]int{} // of several ledgers ids may be the same
	for i := range r.All {
		o := newRow(&r.All[i])
		if anchors[o.ID]++; anchors[o.ID] > 1 {
			o.Anchor = fmt.Sprintf("%s-%d", o.ID, anchors[o.ID])
		}
		view.Rows = append(view.Rows, o)
	}
	for _, e := range ends {
		if r.Sums.Ended[e] > 0 {
			view.Ends = append(view.Ends, e)
		}
	}
	view.Charts = r.charts(view.Rows)
	return pageTemplate().Execute(out, view)
}

// JSON writes the report as one JSON object.
func (r *Report) JSON(out io.Writer) error {
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// The measures of the timeline, in units of its view box.
const (
	chartWidth = 1200
	chartLeft  = 250 // where the bars begin
	chartRight = 830 // and end; then there is room for how they ended
	chartTop   = 34
	chartRow   = 26
	chartRows  = 13 // of one figure, so that a page of paper holds two
	barHeight  = 14
	barLeast   = 5
	labelRoom  = chartLeft - 8
)

// chart is a timeline with a bar for each of its overrides.
type chart struct {
	Width, Height, Top, Right int
	From, To                  string
	Ticks                     []tick
	Bars                      []bar
}

type tick struct {
	X     int
	Label string
	Day   bool
}

// bar is an override on the timeline. LateX begins the part after the deadline of
// one that is overdue; LateWidth is 0 if it is not.
type bar struct {
	row
	Label               string
	Y, Middle, X, Width int
	LateX, LateWidth    int
	End                 int  // of the bar
	Mark                int  // of the deadline; 0 if it is not on the chart
	Before, After       bool // it goes on outside of the chart
	Top, Bottom         int  // of the mark of the deadline
}

// charts draws the days on which something was open, chartRows overrides in each.
func (r *Report) charts(rows []row) []chart {
	if len(rows) == 0 {
		return nil
	}
	from, to := r.shown()
	var out []chart
	for part := range slices.Chunk(rows, chartRows) {
		c := chart{
			Width: chartWidth, Height: chartTop + chartRow*len(part) + 8, Right: chartRight, Top: chartTop,
			From: day(from), To: day(to), Ticks: ticks(from, to),
		}
		for i := range part {
			c.Bars = append(c.Bars, r.bar(&part[i], i, from, to))
		}
		out = append(out, c)
	}
	return out
}

// until is the end of an override as far as it is known.
func (r *Report) until(o *Override) time.Time {
	if o.ClosedAt.IsZero() {
		return r.AsOf
	}
	return o.ClosedAt
}

// shown are the days of the period on which something was open, whole.
func (r *Report) shown() (from, to time.Time) {
	const wholeDay = 24 * time.Hour
	for i := range r.All {
		o := &r.All[i]
		end := r.until(o)
		if from.IsZero() || o.OpenedAt.Before(from) {
			from = o.OpenedAt
		}
		if end.After(to) {
			to = end
		}
	}
	if from.Before(r.From) {
		from = r.From
	}
	if !r.To.IsZero() && r.To.Before(to) {
		to = r.To
	}
	from, to = from.Truncate(wholeDay), to.Add(wholeDay-1).Truncate(wholeDay)
	if !to.After(from) {
		to = from.Add(wholeDay)
	}
	return from, to
}

// place is where a time lies between the left and the right end.
func place(at, from, to time.Time) int {
	share := at.Sub(from).Seconds() / to.Sub(from).Seconds()
	return chartLeft + int(share*(chartRight-chartLeft)+0.5)
}

func (r *Report) bar(o *row, i int, from, to time.Time) bar {
	begin, end := o.OpenedAt, r.until(o.Override)
	b := bar{row: *o, Label: fit(o.User, labelRoom), Before: begin.Before(from), After: end.After(to) || o.ClosedAt.IsZero()}
	if b.Before {
		begin = from
	}
	if end.After(to) {
		end = to
	}
	b.Y = chartTop + chartRow*i + (chartRow-barHeight)/2
	b.Middle = b.Y + barHeight/2
	b.Top, b.Bottom = b.Y-4, b.Y+barHeight+4
	b.X = place(begin, from, to)
	b.Width = max(barLeast, place(end, from, to)-b.X)
	b.End = b.X + b.Width
	if !o.Deadline.Before(from) && !o.Deadline.After(to) {
		b.Mark = place(o.Deadline, from, to)
	}
	if o.Overdue && end.After(o.Deadline) {
		b.LateX = max(b.X, place(o.Deadline, from, to))
		b.LateWidth = b.End - b.LateX
	}
	return b
}

// fit shortens a text to what surely has room in so many units.
func fit(text string, room int) string {
	end := 0 // of what fits together with the dots
	for i, r := range text {
		if room >= 12 {
			end = i
		}
		switch {
		case r > unicode.MaxLatin1:
			room -= 14
		case unicode.IsUpper(r), strings.ContainsRune("mw@%", r):
			room -= 13
		default:
			room -= 8
		}
		if room < 0 {
			return text[:end] + "..."
		}
	}
	return text
}

const mostTicks = 7 // so that the widest name of a day has room

// ticks are the times that the timeline names: hours or days from its beginning or,
// where these were too many, first days of months.
func ticks(from, to time.Time) []tick {
	var out []tick
	add := func(at time.Time, layout string) {
		out = append(out, tick{X: place(at, from, to), Label: at.Format(layout), Day: at.Equal(at.Truncate(24 * time.Hour))})
	}
	const hour = time.Hour
	for _, step := range []time.Duration{3 * hour, 6 * hour, 12 * hour, 24 * hour, 48 * hour, 7 * 24 * hour} {
		if to.Sub(from) > mostTicks*step {
			continue
		}
		for at := from; at.Before(to); at = at.Add(step) {
			layout := "Mon 2 Jan"
			if !at.Equal(at.Truncate(24 * time.Hour)) {
				layout = "15:04"
			}
			add(at, layout)
		}
		return out
	}
	months := 1
	for to.After(from.AddDate(0, mostTicks*months, 0)) {
		months *= 2
		if months == 8 {
			months = 6 // and then years
		}
	}
	first := time.Date(from.Year(), 1, 1, 0, 0, 0, 0, time.UTC)
	for at := first; at.Before(to); at = at.AddDate(0, months, 0) {
		if !at.Before(from) {
			add(at, "Jan 2006")
		}
	}
	return out
}
