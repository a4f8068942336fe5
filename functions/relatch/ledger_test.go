package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/stackflow/relatch/internal/cloud"
	"github.com/stackflow/relatch/internal/config"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/replay"
	"github.com/stackflow/relatch/internal/report"
	"github.com/stackflow/relatch/internal/status"
	"github.com/stackflow/relatch/internal/wiretest"
	"github.com/stackflow/relatch/internal/worker"
)

// observed is Relatch in an account, with the functions' worker in this process
// and a clock that the test sets.
type observed struct {
	*wiretest.Account
	*cloud.Cloud
	worker *worker.Worker
	now    time.Time
}

const ops7 = "arn:aws:sts::123456789012:assumed-role/SupportAdmin/ops-7"

func observe(t *testing.T) *observed {
	t.Helper()
	d := &observed{Account: wiretest.Open(t), now: time.Date(2026, 11, 23, 3, 12, 4, 0, time.UTC)}
	env := append(d.Environment(), "RELATCH_RULE=relatch", "RELATCH_AUDIT_QUEUE_URL="+d.URL(wiretest.AuditQueue))
	for _, e := range env {
		name, value, _ := strings.Cut(e, "=")
		t.Setenv(name, value)
	}
	t.Setenv("AWS_CONFIG_FILE", t.TempDir()+"/none")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", t.TempDir()+"/none")
	settings, err := config.Read(d.Environment())
	if err != nil {
		t.Fatal(err)
	}
	a, err := cloud.Load(os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	clock := func() time.Time { return d.now }
	d.Cloud = cloud.Open(a, settings, clock)
	d.worker = worker.New(settings.House(), d.Ports, clock)
	return d
}

// run runs the command as a person does.
func (d *observed) run(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs strings.Builder
	code = run(t.Context(), args, terminal{
		in: strings.NewReader(""), out: &out, err: &errs, getenv: os.Getenv, wait: wait,
		now: func() time.Time { return d.now },
	})
	return code, out.String(), errs.String()
}

func (d *observed) look(t *testing.T, c mfa.Change) {
	t.Helper()
	if _, err := d.worker.Look(t.Context(), c); err != nil {
		t.Fatal(err)
	}
}

// disable switches TOTP off, as the administrator ops-7 does, and has it looked at.
func (d *observed) disable(t *testing.T, pool mfa.PoolID, sub mfa.Sub, event string) {
	t.Helper()
	d.Switch(t, pool, sub, false, mfa.TOTP)
	d.look(t, mfa.Change{
		Key: event, EventID: event, Kind: mfa.FactorsChanged, EventName: "AdminSetUserMFAPreference", At: d.now, Pool: pool, Sub: sub,
		Off: []mfa.Factor{mfa.TOTP}, Actor: mfa.Actor{ARN: ops7, Type: mfa.Admin}, Source: "198.51.100.7",
	})
}

func (d *observed) sweep(t *testing.T) {
	t.Helper()
	if _, err := d.worker.Sweep(t.Context(), worker.Round{}); err != nil {
		t.Fatal(err)
	}
	if err := d.Ledger.KeepBookmark(t.Context(), worker.Bookmark{CompletedAt: d.now}); err != nil {
		t.Fatal(err)
	}
}

func (d *observed) statusOf(t *testing.T, args ...string) (int, status.Status) {
	t.Helper()
	code, out, errs := d.run(t, append([]string{"status", "--output", "json"}, args...)...)
	var s status.Status
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		t.Fatalf("exit status %d: %v\n%s%s", code, err, out, errs)
	}
	return code, s
}

func TestStatusOverTheWire(t *testing.T) {
	d := observe(t)
	maria := d.Add(t, wiretest.Person{Pool: d.Pool, Name: "maria", Roles: []mfa.Role{"itsm_manager"}, Registered: []mfa.Factor{mfa.TOTP}, Factors: []mfa.Factor{mfa.TOTP}})
	lost := d.Add(t, wiretest.Person{Pool: d.EmailPool, Name: "lee@example.com", Registered: []mfa.Factor{mfa.TOTP}, Factors: []mfa.Factor{mfa.TOTP}})
	d.now = d.now.Add(-10 * time.Minute)
	code, s := d.statusOf(t)
	if diff := cmp.Diff([]string{"no sweep has ever been completed"}, s.Wrong); code != 1 || diff != "" {
		t.Errorf("before the first sweep: exit status %d, -want +got\n%s", code, diff)
	}
	d.sweep(t)
	if code, s = d.statusOf(t); code != 0 || len(s.Wrong) > 0 || len(s.Overrides) > 0 {
		t.Errorf("all well: exit status %d, %+v", code, s)
	}
	if _, err := d.Ledger.Justify(t.Context(), d.EmailPool, lost, mfa.Justification{
		ID: "J-LOST", Reason: "Left the phone in a taxi in Lyon", Ticket: "CHG0012345", Cause: mfa.LostDevice, Author: ops7, At: d.now,
	}); err != nil {
		t.Fatal(err)
	}
	d.now = d.now.Add(10 * time.Minute)
	d.disable(t, d.Pool, maria, "e-1")
	d.disable(t, d.EmailPool, lost, "e-2")
	d.now = d.now.Add(20 * time.Minute)
	code, s = d.statusOf(t)
	if code != 1 || len(s.Overrides) != 2 || s.Mode != "unknown" || s.Sweep.TooOld {
		t.Fatalf("exit status %d, %+v", code, s)
	}
	by := map[mfa.Sub]status.Override{}
	for _, o := range s.Overrides {
		by[o.Sub] = o
	}
	if o := by[maria]; o.Username != "maria" || !o.Required || o.Justified || o.SecondsLeft != 86400-1200 || o.Severity != mfa.Critical || !cmp.Equal(o.Failed, []mfa.Rule{mfa.RuleMissing}) {
		t.Errorf("maria: %+v", o)
	}
	if o := by[lost]; !o.Justified || o.Justification == nil || o.Justification.Ticket != "CHG0012345" || !strings.Contains(o.Then, "locked out") {
		t.Errorf("lee: %+v", o)
	}
	_, text, _ := d.run(t, "status")
	for _, line := range strings.Split(text, "\n") {
		if len([]rune(line)) > 100 {
			t.Errorf("%d columns: %s", len([]rune(line)), line)
		}
	}
	t.Logf("\n%s", text)
	if code, s = d.statusOf(t, "lee@example.com"); code != 0 || len(s.Overrides) != 1 || s.Asked == nil || s.Asked.Username != "lee@example.com" {
		t.Errorf("of one user: exit status %d, %+v", code, s)
	}
	if code, s = d.statusOf(t, by[maria].ID); code != 1 || len(s.Overrides) != 1 || s.Overrides[0].Sub != maria {
		t.Errorf("of one override: exit status %d, %+v", code, s)
	}
	if code, _, errs := d.run(t, "status", "nobody"); code != 2 || !strings.Contains(errs, "no user has the username") {
		t.Errorf("of nobody: exit status %d, %s", code, errs)
	}
}

// keep appends the record to the journal of its user, named for the scenario.
func (d *observed) keep(t *testing.T, scenario string, r mfa.Record) mfa.Record {
	t.Helper()
	if r.User == nil {
		return r
	}
	u := *r.User
	u.Sub += mfa.Sub("-" + scenario)
	r.User = &u
	if r.Override != nil {
		o := *r.Override
		o.ID += "-" + scenario
		o.JustificationDigest = "" // what was matched is not on record here
		r.Override = &o
	}
	loaded, err := d.Ledger.Load(t.Context(), worker.Query{Journal: mfa.UserJournal(u.Pool, u.Sub)})
	if err != nil {
		t.Fatal(err)
	}
	next, entry := loaded.Standing.Append(r)
	if err := d.Ledger.Append(t.Context(), worker.Step{Standing: next, Entry: &entry}); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestReportAndVerifyReadTheLedger(t *testing.T) {
	d := observe(t)
	scenarios, err := (&replay.Loader{}).Load([]string{"../../events"})
	if err != nil {
		t.Fatal(err)
	}
	var b report.Builder
	for _, s := range scenarios {
		if strings.HasPrefix(s.Name, "mass-") {
			continue // hundreds of users
		}
		result, err := replay.Run(t.Context(), s, replay.Options{Start: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range result.Records {
			b.Add("", d.keep(t, s.Name, r))
		}
	}
	asOf := time.Date(2026, 12, 2, 0, 0, 0, 0, time.UTC)
	d.now = asOf.Add(time.Second / 2).In(time.FixedZone("CET", 3600)) // times are whole seconds, UTC
	month := report.Period{From: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), To: time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)}
	want, err := b.Report(t.Context(), month, asOf, nil)
	if err != nil {
		t.Fatal(err)
	}
	code, out, errs := d.run(t, "report", "--from", "2026-11", "--output", "json")
	var got report.Report
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatalf("exit status %d: %v; %s", code, err, errs)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" || code != 0 || len(got.All) < 50 || !strings.Contains(out, `"2026-12-02T00:00:00Z"`) {
		t.Errorf("%d overrides; -records +report\n%s", len(got.All), diff)
	}
	d.now = asOf
	if !strings.Contains(errs, "users are not named") { // moto has no such pools
		t.Errorf("standard error: %q", errs)
	}

	maria := d.Add(t, wiretest.Person{Pool: d.Pool, Name: "maria", Roles: []mfa.Role{"itsm_manager"}, Registered: []mfa.Factor{mfa.TOTP}, Factors: []mfa.Factor{mfa.TOTP}})
	if _, err := d.Ledger.Justify(t.Context(), d.Pool, maria, mfa.Justification{ID: "J-1", Reason: "Left the phone in a taxi in Lyon", Ticket: "CHG0012345", Author: ops7, At: d.now}); err != nil {
		t.Fatal(err)
	}
	d.disable(t, d.Pool, maria, "e-1")
	d.now = d.now.Add(time.Hour)
	code, out, errs = d.run(t, "report", "--from", "2026-12")
	for _, text := range []string{"maria", "itsm_manager", "1 h so far", "Left the phone in a taxi in Lyon", "CHG0012345, by SupportAdmin/ops-7"} {
		if !strings.Contains(out, text) {
			t.Errorf("exit status %d, the report lacks %q:\n%s%s", code, text, out, errs)
		}
	}

	if code, out, errs = d.run(t, "verify"); code != 0 || !strings.Contains(out, "whole, as far as the ledger tells") {
		t.Errorf("exit status %d: %s%s", code, out, errs)
	}
	journal := mfa.UserJournal(d.Pool, maria)
	reason := map[string]types.AttributeValue{
		"pk": &types.AttributeValueMemberS{Value: journal}, "sk": &types.AttributeValueMemberS{Value: "justification/J-1"},
	}
	edit := func(text string) {
		t.Helper()
		if _, err := d.DynamoDB.UpdateItem(t.Context(), &dynamodb.UpdateItemInput{
			TableName: new(wiretest.Table), Key: reason, UpdateExpression: new("SET justification = :text"),
			ExpressionAttributeValues: map[string]types.AttributeValue{":text": &types.AttributeValueMemberS{Value: text}},
		}); err != nil {
			t.Fatal(err)
		}
	}
	stored, err := d.DynamoDB.GetItem(t.Context(), &dynamodb.GetItemInput{TableName: new(wiretest.Table), Key: reason})
	if err != nil {
		t.Fatal(err)
	}
	written := stored.Item["justification"].(*types.AttributeValueMemberS).Value //nolint:errcheck // a panic tells
	edit(strings.Replace(written, "in Lyon", "in Paris", 1))
	code, out, errs = d.run(t, "verify")
	if want := "altered  " + journal + ": justification J-1 or its approval is not what entry 1 was matched with\n"; code != 1 || !strings.HasPrefix(out, want) {
		t.Errorf("exit status %d: %s%s", code, out, errs)
	}
	edit(written)
	key := map[string]types.AttributeValue{
		"pk": &types.AttributeValueMemberS{Value: journal}, "sk": &types.AttributeValueMemberS{Value: "entry/0000000001"},
	}
	if _, err := d.DynamoDB.DeleteItem(t.Context(), &dynamodb.DeleteItemInput{TableName: new(wiretest.Table), Key: key}); err != nil {
		t.Fatal(err)
	}
	code, out, errs = d.run(t, "verify")
	if want := "truncated  " + journal + ": the standing counts 1 entries, but the journal ends with entry 0\n"; code != 1 || !strings.HasPrefix(out, want) {
		t.Errorf("exit status %d: %s%s", code, out, errs)
	}
	if code, _, errs = d.run(t, "verify", "--table", "nowhere"); code != 2 || !strings.Contains(errs, "read the ledger") {
		t.Errorf("no such table: exit status %d: %s", code, errs)
	}
}
