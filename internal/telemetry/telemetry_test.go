package telemetry_test

import (
	"bytes"
	stdjson "encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/smithy-go"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/replay"
	"github.com/stackflow/relatch/internal/telemetry"
	"github.com/stackflow/relatch/internal/worker"
)

var update = flag.Bool("update", false, "write the golden file anew")

// house is a Telemetry that writes to lines, with a clock that stands.
type house struct {
	*telemetry.Telemetry
	lines bytes.Buffer
	now   time.Time
}

func newHouse(function string) *house {
	h := &house{now: time.Date(2026, 11, 23, 3, 13, 11, 250e6, time.FixedZone("CET", 3600)).Add(time.Hour)}
	h.Telemetry = telemetry.New(telemetry.NewLogger(&h.lines), function, func() time.Time { return h.now })
	return h
}

// written returns the lines so far and forgets them.
func (h *house) written() []string {
	defer h.lines.Reset()
	return slices.Collect(strings.Lines(h.lines.String()))
}

// records are those of every scenario, by scenario, with its result.
func records(t *testing.T) map[string]replay.Result {
	t.Helper()
	var l replay.Loader
	scenarios, err := l.Load([]string{"../../events"})
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]replay.Result{}
	for _, s := range scenarios {
		result, err := replay.Run(t.Context(), s, replay.Options{})
		if err != nil {
			t.Fatal(err)
		}
		all[s.Name] = result
	}
	return all
}

func head(n int) mfa.Head {
	journal := mfa.UserJournal("us-east-1_EXAMPLE12", "04978819-2151-70ed-0402-7d0ba10a1e63")
	return mfa.Head{Journal: journal, Number: n, Hash: strings.Repeat("0f", 32)}
}

func TestLinesReadAsTheGoldenFileSays(t *testing.T) {
	all := records(t)
	audit, reenable, sweep := newHouse("audit"), newHouse("reenable"), newHouse("sweep")
	var got strings.Builder
	add := func(h *house, what string) {
		for _, line := range h.written() {
			fmt.Fprintf(&got, "== %s\n%s", what, line)
		}
	}
	for i, r := range all["01-justified-disable-ends-after-24h"].Records {
		h := audit
		if r.Verdict == mfa.Restores {
			h = reenable
		}
		h.now = r.At
		h.Record(r, head(i+1))
		add(h, fmt.Sprintf("record: %s", r.Verdict))
	}
	page := all["unjustified-disable-of-required-role"].Records[0]
	audit.now = page.At
	audit.Record(page, head(1))
	add(audit, "record: a page")
	for _, r := range all["unreadable-among-good"].Records {
		if r.Verdict == mfa.Rejects {
			audit.now = r.At
			audit.Record(r, mfa.Head{})
			add(audit, "record: reject, in no journal")
		}
	}
	audit.Irrelevant(0)
	audit.Irrelevant(7)
	add(audit, "not relevant")
	audit.Failed("19dd0b57-b21e-4ac1-bd88-01bbb068cb78", errors.New("look at the user: list: <timeout>"))
	add(audit, "failed message")
	audit.Problem("the policy cannot be read", errors.Join(errors.New("one"), errors.New("two")))
	add(audit, "problem")
	sweep.Sweep(telemetry.Sweep{})
	add(sweep, "sweep: the first one, not complete")
	sweep.Sweep(telemetry.Sweep{Last: sweep.now.Add(-20*time.Minute - time.Nanosecond), Overrides: &worker.Census{Open: 3, Overdue: 1}})
	add(sweep, "sweep: not complete")
	sweep.Sweep(telemetry.Sweep{Complete: true, Last: sweep.now, Overrides: &worker.Census{Open: 2, Unrestorable: 1}})
	add(sweep, "sweep: complete")
	override := newHouse("override")
	override.Request(telemetry.Request{
		Do: "justify", By: "arn:aws:sts::111122223333:assumed-role/SupportAdmin/ops-7", Pool: "us-east-1_EXAMPLE12",
		Sub: "04978819-2151-70ed-0402-7d0ba10a1e63", ID: "J-WNPPZ2H6GQ", Status: 201,
	})
	add(override, "request: taken")
	override.Request(telemetry.Request{Status: 401, Problem: "unidentified"})
	add(override, "request: refused")
	override.Request(telemetry.Request{Do: "end", By: "arn:aws:iam::111122223333:user/tom", Pool: "us-east-1_EXAMPLE12", Status: 503, Problem: "unavailable", Err: errors.New("load: timeout")})
	add(override, "request: failed")

	const golden = "testdata/lines.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(got.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("lines (-golden +got; -update writes it anew):\n%s", diff)
	}
	for line := range strings.Lines(got.String()) {
		if !strings.HasPrefix(line, "==") {
			metrics(t, line)
		}
	}
}

// aws is the metadata object as the specification has it.
type aws struct {
	Timestamp         int64
	CloudWatchMetrics []struct {
		Namespace  string
		Dimensions [][]string
		Metrics    []struct{ Name, Unit string }
	}
}

// metrics checks a line against the specification of the embedded metric format
// and returns the values of its metrics. A root member that is there twice or is
// a number without being a metric is an error, and so is an unknown member of _aws.
func metrics(t *testing.T, line string) map[string]int64 {
	t.Helper()
	var root map[string]jsontext.Value
	if err := json.Unmarshal([]byte(line), &root); err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	values := map[string]int64{}
	problem := func(format string, args ...any) { t.Errorf("%s: %s", fmt.Sprintf(format, args...), line) }
	if len(line) > 256<<10 || strings.Count(line, "\n") != 1 {
		problem("%d bytes or more than one line", len(line))
	}
	var meta aws
	if raw := root["_aws"]; raw != nil {
		if err := json.Unmarshal(raw, &meta, json.RejectUnknownMembers(true)); err != nil {
			problem("%v", err)
		}
		if len(meta.CloudWatchMetrics) == 0 || meta.Timestamp < 1e12 {
			problem("_aws without metrics or time")
		}
	}
	for _, d := range meta.CloudWatchMetrics {
		if d.Namespace != "Relatch" || len(d.Dimensions) == 0 || len(d.Metrics) == 0 || len(d.Metrics) > 100 {
			problem("a directive that is not whole")
		}
		for _, by := range d.Dimensions {
			if len(by) == 0 || len(by) > 30 {
				problem("%d dimensions", len(by))
			}
			for _, name := range by {
				var value string
				if err := json.Unmarshal(root[name], &value); err != nil || value == "" || len(value) > 1024 {
					problem("dimension %s is no text of 1 to 1024 bytes", name)
				}
			}
		}
		for _, m := range d.Metrics {
			if root[m.Name].Kind() != '0' || !slices.Contains([]string{"Count", "Seconds"}, m.Unit) {
				problem("metric %s is no number with a unit", m.Name)
				continue
			}
			if _, twice := values[m.Name]; twice {
				problem("metric %s is there twice", m.Name)
			}
			var value int64 // not of a number with an exponent
			if err := json.Unmarshal(root[m.Name], &value); err != nil || value < 0 {
				problem("metric %s is no whole number of 0 or more", m.Name)
			}
			values[m.Name] = value
		}
	}
	for name, value := range root {
		if _, metric := values[name]; !metric && value.Kind() == '0' {
			problem("%s is a number and no metric", name)
		}
	}
	return values
}

// without takes members off a JSON object. What is left is as it was, byte for byte.
func without(t *testing.T, object string, off func(name string) bool) string {
	t.Helper()
	d := stdjson.NewDecoder(strings.NewReader(object))
	if _, err := d.Token(); err != nil {
		t.Fatal(err)
	}
	var left []string
	for d.More() {
		name, err := d.Token()
		if err != nil {
			t.Fatal(err)
		}
		var value stdjson.RawMessage
		if err := d.Decode(&value); err != nil {
			t.Fatal(err)
		}
		if !off(fmt.Sprint(name)) {
			left = append(left, fmt.Sprintf("%q:%s", name, value))
		}
	}
	return "{" + strings.Join(left, ",") + "}"
}

func TestALineIsTheRecordAndNothingElse(t *testing.T) {
	odd := mfa.Record{
		Schema: mfa.RecordSchema, At: time.Unix(1e9, 0).UTC(), Verdict: mfa.Rejects, Reason: mfa.Unreadable,
		Problem: "<a> & \u2028 \"b\"\n\x00 \xff ü", Cause: mfa.RecordCause{Key: "<k>"},
	}
	list := []mfa.Record{odd, {Verdict: mfa.Holds}}
	for _, result := range records(t) {
		list = append(list, result.Records...)
	}
	h := newHouse("audit")
	for i, r := range list {
		h.Record(r, head(i))
		line := h.written()[0]
		values := metrics(t, line)
		got := without(t, line, func(name string) bool {
			_, metric := values[name]
			return metric || slices.Contains([]string{"level", "timestamp", "msg", "function", "head", "_aws"}, name)
		})
		want, err := stdjson.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("have %s\nwant %s", got, want)
		}
	}
}

// TestEveryDeliveryIsCountedOnce: the sum of Deliveries is that of the summary.
func TestEveryDeliveryIsCountedOnce(t *testing.T) {
	for name, result := range records(t) {
		h := newHouse("audit")
		for _, r := range result.Records {
			h.Record(r, mfa.Head{})
		}
		h.Irrelevant(result.Summary.Ignored[mfa.Irrelevant])
		sum := int64(0)
		for _, line := range h.written() {
			sum += metrics(t, line)["Deliveries"]
		}
		if want := int64(result.Summary.Events); sum != want {
			t.Errorf("%s: %d deliveries counted, %d there were", name, sum, want)
		}
	}
}

func TestNoLineHasAUsername(t *testing.T) {
	usernames, lines := 0, 0
	for name, result := range records(t) {
		h := newHouse("audit")
		for i, r := range result.Records {
			h.Record(r, head(i))
		}
		for _, line := range h.written() {
			lines++
			for _, u := range result.Users {
				if u.Username == "" || u.Username == string(u.Sub) {
					continue
				}
				usernames++
				if strings.Contains(line, u.Username) {
					t.Errorf("%s: %s has the username %s", name, line, u.Username)
				}
			}
		}
	}
	if usernames == 0 || lines == 0 {
		t.Errorf("looked for %d usernames in %d lines", usernames, lines)
	}
}

func TestTimesAreMeasured(t *testing.T) {
	at := time.Date(2026, 11, 24, 3, 13, 0, 0, time.UTC)
	triggered := []mfa.Alert{{Severity: mfa.Warning, State: mfa.StateTriggered}}
	cause := func(k mfa.Kind, ago time.Duration) mfa.RecordCause {
		return mfa.RecordCause{Kind: k, EventTime: at.Add(-ago)}
	}
	closed := func(end mfa.End, ago time.Duration) *mfa.RecordOverride {
		return &mfa.RecordOverride{Deadline: at.Add(-ago), Closed: end}
	}
	for _, c := range []struct {
		name string
		r    mfa.Record
		want map[string]int64
	}{
		{"a delivery that opens an incident", mfa.Record{Cause: cause(mfa.FactorsChanged, 67*time.Second), Alerts: triggered}, map[string]int64{"Deliveries": 1, "EventToAlert": 67}},
		{"an event from the future", mfa.Record{Cause: cause(mfa.FactorsChanged, -time.Second), Alerts: triggered}, map[string]int64{"Deliveries": 1, "EventToAlert": 0}},
		{"a note", mfa.Record{Cause: cause(mfa.UserChanged, time.Second), Alerts: []mfa.Alert{{State: mfa.StateNoted}}}, map[string]int64{"Deliveries": 1, "EventToAlert": 1}},
		{"a resolve", mfa.Record{Cause: cause(mfa.FactorsChanged, time.Second), Alerts: []mfa.Alert{{State: mfa.StateResolved}}}, map[string]int64{"Deliveries": 1}},
		{"a sweep's alert", mfa.Record{Cause: mfa.RecordCause{Kind: mfa.Swept}, Alerts: triggered}, map[string]int64{}},
		{"what could not be read", mfa.Record{Verdict: mfa.Rejects, Alerts: triggered}, map[string]int64{"Deliveries": 1}},
		{"a late restore", mfa.Record{Cause: cause(mfa.Due, 0), Override: closed(mfa.Restored, 56*time.Second)}, map[string]int64{"ReenableLateness": 56}},
		{"a restore to the second", mfa.Record{Cause: cause(mfa.Due, 0), Override: closed(mfa.Restored, 0)}, map[string]int64{"ReenableLateness": 0}},
		{"an early end", mfa.Record{Cause: cause(mfa.Asked, 0), Override: closed(mfa.Restored, -time.Hour)}, map[string]int64{}},
		{"an end by a person", mfa.Record{Cause: cause(mfa.Swept, 0), Override: closed(mfa.Reenabled, time.Hour)}, map[string]int64{}},
		{"an alert that somebody else had begun", mfa.Record{Cause: cause(mfa.FactorsChanged, 48*time.Minute), Alerts: triggered}, map[string]int64{"Deliveries": 1, "EventToAlert": 48 * 60}},
	} {
		h := newHouse("audit")
		h.now = at
		c.r.At, c.r.Verdict = at, mfa.Opens
		h.Record(c.r, mfa.Head{})
		if diff := cmp.Diff(c.want, metrics(t, h.written()[0])); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestWhatAWSSaysIsLeftOut(t *testing.T) {
	const user = "maria.lopez@example.com"
	inner := &smithy.GenericAPIError{Code: "InvalidParameterException", Message: "Value '" + user + "' at 'username' failed"}
	outer := &smithy.GenericAPIError{Code: "ValidationException", Message: inner.Message + " to satisfy " + user}
	operation := &smithy.OperationError{ServiceID: "Cognito Identity Provider", OperationName: "AdminGetUser", Err: inner}
	silent := &smithy.GenericAPIError{Code: "ThrottlingException"}
	for _, c := range []struct {
		err  error
		want string
	}{
		{errors.New("plain"), "plain"},
		{
			fmt.Errorf("get user: %w", operation),
			"get user: operation error Cognito Identity Provider: AdminGetUser, api error InvalidParameterException: (message left out)",
		},
		{
			errors.Join(fmt.Errorf("one: %w", operation), errors.Join(fmt.Errorf("two: %w and %w", outer, silent), errors.New("three"))),
			"one: operation error Cognito Identity Provider: AdminGetUser, api error InvalidParameterException: (message left out)\n" +
				"two: api error ValidationException: (message left out) and api error ThrottlingException: \nthree",
		},
	} {
		if got := telemetry.Text(c.err); got != c.want {
			t.Errorf("have %s\nwant %s", got, c.want)
		}
		h := newHouse("audit")
		h.Failed("m-1", c.err)
		h.Problem("p", c.err)
		if got := strings.Join(h.written(), ""); strings.Contains(got, user) {
			t.Errorf("a username is logged: %s", got)
		}
	}
}
