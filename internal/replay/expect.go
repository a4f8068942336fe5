package replay

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	strict "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/stackflow/relatch/internal/account"
)

// Expect is an expect.json: what must come of a scenario.
// A field that is not there expects nothing.
type Expect struct {
	Records       []any           `json:"records"`
	Account       *expectAccount  `json:"account"`
	OpenIncidents *[]string       `json:"open_incidents"`
	Timers        *int            `json:"timers"`
	Summary       map[string]any  `json:"summary"`
	has           map[string]bool // which keys are there
}

type expectAccount struct {
	Users []map[string]any `json:"users"`
}

// ParseExpect reads an expect.json. Unknown keys are errors.
func ParseExpect(raw []byte) (*Expect, error) {
	var e Expect
	if err := strict.Unmarshal(raw, &e, strict.RejectUnknownMembers(true)); err != nil {
		return nil, err
	}
	var keys map[string]jsontext.Value
	if err := strict.Unmarshal(raw, &keys); err != nil {
		return nil, err
	}
	if len(keys) == 0 {
		return nil, errors.New("expects nothing; say what must come (records, account, open_incidents, timers or summary), or leave the file out")
	}
	e.has = map[string]bool{}
	for key := range keys {
		e.has[key] = true
	}
	return &e, nil
}

// Unmet is one expectation that was not met.
type Unmet struct {
	Where string // such as "records[2]" or "summary"
	// Diff has a line for each difference: "- path: wanted" and "+ path: got".
	Diff []string
}

func (u Unmet) String() string { return u.Where + ": " + strings.Join(u.Diff, "; ") }

// Check compares what came with what was expected.
func (e *Expect) Check(r Result) []Unmet {
	var unmet []Unmet
	if e.has["records"] {
		unmet = append(unmet, e.records(r)...)
	}
	if e.Account != nil {
		unmet = append(unmet, e.users(r)...)
	}
	if e.OpenIncidents != nil {
		var kinds []string
		for _, in := range r.OpenIncidents {
			kinds = append(kinds, string(in.Kind))
		}
		want := slices.Sorted(slices.Values(*e.OpenIncidents))
		if slices.Sort(kinds); !slices.Equal(want, kinds) {
			unmet = append(unmet, Unmet{"open_incidents", []string{"- " + show(want), "+ " + show(kinds)}})
		}
	}
	if e.Timers != nil && *e.Timers != r.Timers {
		unmet = append(unmet, Unmet{"timers", []string{fmt.Sprintf("- %d", *e.Timers), fmt.Sprintf("+ %d", r.Timers)}})
	}
	if diff := differences(e.Summary, generic(r.Summary)); len(diff) > 0 {
		unmet = append(unmet, Unmet{"summary", diff})
	}
	return unmet
}

// generic is a value as JSON has it.
func generic(v any) any {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err) // cannot happen: records and summaries marshal
	}
	var out any
	if err := json.Unmarshal(raw, &out); err != nil {
		panic(err) // cannot happen: it was marshalled just now
	}
	return out
}

func (e *Expect) users(r Result) []Unmet {
	var unmet []Unmet
	for i, want := range e.Account.Users {
		where := fmt.Sprintf("account.users[%d]", i)
		at := slices.IndexFunc(r.Users, func(u account.UserFile) bool { return string(u.Sub) == want["sub"] })
		if at < 0 {
			unmet = append(unmet, Unmet{where, []string{"- sub: " + show(want["sub"]), "+ no such user"}})
			continue
		}
		if diff := differences(want, generic(r.Users[at])); len(diff) > 0 {
			unmet = append(unmet, Unmet{fmt.Sprintf("%s (%s)", where, want["sub"]), diff})
		}
	}
	return unmet
}

// records aligns the wanted records with those that came: in order, each wanted
// one must be met, and each that is no "ignore" must have been wanted. The
// alignment with the fewest violations is the one reported.
func (e *Expect) records(r Result) []Unmet {
	got := make([]any, len(r.Records))
	for i := range r.Records {
		got[i] = generic(r.Records[i])
	}
	want := e.Records
	ignored := func(i int) bool { return r.Records[i].Verdict == "ignore" }
	n, m := len(want), len(got)
	// cost[i][j] is the least that want[i:] against got[j:] violates. What is
	// missing and what is too much cost 2 each; a record of the wanted verdict
	// that is not quite the wanted one costs 3, so that it is shown as such.
	cost := make([][]int, n+1)
	met := make([][]bool, n)
	for i := n; i >= 0; i-- {
		cost[i] = make([]int, m+1)
		if i < n {
			met[i] = make([]bool, m)
		}
		for j := m; j >= 0; j-- {
			cost[i][j] = 1 << 30
			if i == n && j == m {
				cost[i][j] = 0
			}
			if i < n {
				cost[i][j] = min(cost[i][j], cost[i+1][j]+missing)
			}
			if j < m {
				if ignored(j) {
					cost[i][j] = min(cost[i][j], cost[i][j+1])
				} else {
					cost[i][j] = min(cost[i][j], cost[i][j+1]+missing)
				}
			}
			if i < n && j < m && meets(want[i], got[j]) {
				met[i][j] = true
				cost[i][j] = min(cost[i][j], cost[i+1][j+1])
			} else if i < n && j < m && verdict(want[i]) == verdict(got[j]) {
				cost[i][j] = min(cost[i][j], cost[i+1][j+1]+different)
			}
		}
	}
	var unmet []Unmet
	for i, j := 0, 0; i < n || j < m; {
		switch {
		case i < n && j < m && met[i][j] && cost[i][j] == cost[i+1][j+1]:
			i, j = i+1, j+1
		case j < m && ignored(j) && cost[i][j] == cost[i][j+1]:
			j++
		case i < n && j < m && verdict(want[i]) == verdict(got[j]) && cost[i][j] == cost[i+1][j+1]+different:
			unmet = append(unmet, Unmet{fmt.Sprintf("records[%d]", i), differences(want[i], got[j])})
			i, j = i+1, j+1
		case i < n && cost[i][j] == cost[i+1][j]+missing:
			unmet = append(unmet, Unmet{fmt.Sprintf("records[%d]", i), []string{"- " + show(want[i]), "+ no such record came"}})
			i++
		default:
			unmet = append(unmet, Unmet{"records", []string{"- nothing was expected here", "+ " + show(got[j])}})
			j++
		}
	}
	return unmet
}

// What the alignment of records counts a violation as.
const (
	missing   = 2 // a wanted record that did not come, or one that nobody wanted
	different = 3
)

func verdict(record any) any {
	if fields, ok := record.(map[string]any); ok {
		return fields["verdict"]
	}
	return nil
}

// differences says where got does not have what want asks for: an object's
// other fields do not count, nor other elements of a list; the objects of a list
// must come in the wanted order, plain values in any; what is empty must be
// empty or missing.
func differences(want, got any) []string {
	c := comparison{report: true}
	c.same("", want, got)
	return c.diff
}

// meets reports whether there are no differences.
func meets(want, got any) bool {
	c := comparison{}
	return c.same("", want, got)
}

type comparison struct {
	report bool
	diff   []string
}

// same reports whether got has what want asks for. Without a report it stops at
// the first difference and makes up no paths.
func (c *comparison) same(path string, want, got any) bool {
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok && (got != nil || len(w) > 0) {
			return c.differ(path, want, got)
		}
		same := true
		for _, name := range c.names(w) {
			if !c.same(c.below(path, name), w[name], g[name]) {
				same = false
				if !c.report {
					break
				}
			}
		}
		return same
	case []any:
		g, ok := got.([]any)
		switch {
		case !ok && got != nil, len(w) == 0 && len(g) > 0:
			return c.differ(path, want, got)
		case len(w) > 0 && isObject(w[0]):
			return inOrder(w, g) || c.differ(path, want, got)
		default:
			return !slices.ContainsFunc(w, func(x any) bool { return !slices.Contains(g, x) }) || c.differ(path, want, got)
		}
	default:
		return got == nil && (want == nil || want == false || want == "" || want == 0.0) || want == got || c.differ(path, want, got)
	}
}

func (c *comparison) differ(path string, want, got any) bool {
	if c.report {
		if path != "" {
			path += ": "
		}
		c.diff = append(c.diff, "- "+path+show(want), "+ "+path+show(got))
	}
	return false
}

func (c *comparison) below(path, name string) string {
	if !c.report || path == "" {
		return name
	}
	return path + "." + name
}

func (c *comparison) names(m map[string]any) []string {
	names := slices.Collect(maps.Keys(m))
	if c.report {
		slices.Sort(names)
	}
	return names
}

// inOrder reports whether the wanted objects are among those that came, in order.
func inOrder(want, got []any) bool {
	for _, w := range want {
		i := slices.IndexFunc(got, func(g any) bool { return meets(w, g) })
		if i < 0 {
			return false
		}
		got = got[i+1:]
	}
	return true
}

func isObject(v any) bool {
	_, ok := v.(map[string]any)
	return ok
}

func show(v any) string {
	if v == nil {
		return "nothing"
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(raw)
}
