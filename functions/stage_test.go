package functions_test

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	schedulertypes "github.com/aws/aws-sdk-go-v2/service/scheduler/types"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/google/go-cmp/cmp"

	"github.com/stackflow/relatch/internal/alert"
	"github.com/stackflow/relatch/internal/dynamo"
	"github.com/stackflow/relatch/internal/lambdatest"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/mototest"
	"github.com/stackflow/relatch/internal/stacktest"
	"github.com/stackflow/relatch/internal/wiretest"
	"github.com/stackflow/relatch/internal/worker"
)

// viewer is an optional role.
const viewer mfa.Role = "viewer"

// stage is a deployment in an account: the functions, and a ledger of its own.
type stage struct {
	*stacktest.Account
	audit, reenable, sweep *lambdatest.Function
	ledger                 *dynamo.Ledger
	table                  string
	outputs                []*lambdatest.Function
	names                  []string // usernames, which stand in alerts alone
}

// perform opens an account, with groups of the optional role, and deploys into it.
func perform(t *testing.T, env ...string) *stage {
	t.Helper()
	s := deploy(t, stacktest.Open(t), wiretest.Table, env...)
	for _, pool := range []mfa.PoolID{s.Pool, s.EmailPool} {
		_, err := s.Cognito.CreateGroup(t.Context(), &cognitoidentityprovider.CreateGroupInput{UserPoolId: new(string(pool)), GroupName: new(string(viewer))})
		must(t, err)
	}
	return s
}

// another deploys a second time into the account, with a ledger of its own.
func (s *stage) another(t *testing.T, table string, env ...string) *stage {
	t.Helper()
	s.MakeLedger(t, table)
	return deploy(t, s.Account, table, append(env, "RELATCH_TABLE="+table)...)
}

func deploy(t *testing.T, a *stacktest.Account, table string, env ...string) *stage {
	t.Helper()
	s := &stage{Account: a, ledger: dynamo.New(a.DynamoDB, table), table: table}
	s.audit = s.start(t, "./functions/audit", env...)
	s.reenable = s.start(t, "./functions/reenable", env...)
	s.sweep = s.start(t, "./functions/sweep", env...)
	return s
}

func (s *stage) start(t *testing.T, function string, env ...string) *lambdatest.Function {
	t.Helper()
	f := lambdatest.Start(t, lambdatest.Build(t, function), s.Environment(path.Base(function), env...)...)
	s.outputs = append(s.outputs, f)
	return f
}

// must ends the test with an error, unless moto has done all the same what was
// asked of it.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil && !mototest.Lost(err) {
		t.Fatal(err)
	}
}

// gone ends the test if something could not be deleted.
func gone(t *testing.T, err error) {
	t.Helper()
	if err != nil && !mototest.Gone(err) {
		t.Fatal(err)
	}
}

// same compares the state with the one that was wanted.
func same(t *testing.T, what string, want, got any, options ...cmp.Option) {
	t.Helper()
	if diff := cmp.Diff(want, got, options...); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// user is somebody in a pool.
type user struct {
	pool mfa.PoolID
	sub  mfa.Sub
	name string
	by   string // the session of the administrator who acts on them, one for each: six users of one are a mass disable
}

func (u user) journal() string { return mfa.UserJournal(u.pool, u.sub) }

// add makes a user with the role, whose TOTP is on if it is registered.
func (s *stage) add(t *testing.T, pool mfa.PoolID, role mfa.Role, registered ...mfa.Factor) user {
	t.Helper()
	id := strings.ToLower(rand.Text())
	u := user{pool: pool, name: "name-" + id[:12], by: "ops-" + id[12:]}
	if pool == s.EmailPool {
		u.name += "@example.com"
	}
	u.sub = s.Add(t, wiretest.Person{Pool: pool, Name: u.name, Roles: []mfa.Role{role}, Registered: registered, Factors: registered})
	s.names = append(s.names, u.name)
	return u
}

// disarmed is a user whose TOTP an administrator has switched off.
func (s *stage) disarmed(t *testing.T, pool mfa.PoolID, role mfa.Role) user {
	t.Helper()
	u := s.add(t, pool, role, mfa.TOTP)
	s.Switch(t, pool, u.sub, false, mfa.TOTP)
	return u
}

// call is what CloudTrail records of an administrator's call.
type call struct {
	name       string
	user       user
	id         string
	at         time.Time
	parameters map[string]any
	reissues   string // the event that CloudTrail corrects with this one
}

func (u user) call(name string, at time.Time, parameters map[string]any) call {
	return call{name: name, user: u, id: rand.Text(), at: at.UTC().Truncate(time.Second), parameters: parameters}
}

func (u user) switched(on bool, at time.Time) call {
	return u.call("AdminSetUserMFAPreference", at, map[string]any{"softwareTokenMfaSettings": map[string]any{"enabled": on, "preferredMfa": on}})
}

func (u user) disabled(at time.Time) call { return u.switched(false, at) }

// actor is the ARN of the administrator.
func (u user) actor() string {
	return "arn:aws:sts::" + mototest.Account + ":assumed-role/SupportAdmin/" + u.by
}

// record is the call as CloudTrail writes it.
func (c call) record() string {
	issuer := map[string]any{"type": "Role", "arn": "arn:aws:iam::" + mototest.Account + ":role/SupportAdmin", "accountId": mototest.Account, "userName": "SupportAdmin"}
	parameters := map[string]any{"userPoolId": c.user.pool}
	for name, value := range c.parameters {
		parameters[name] = value
	}
	r := map[string]any{
		"eventVersion": "1.11", "eventTime": c.at.Format(time.RFC3339), "eventSource": "cognito-idp.amazonaws.com", "eventName": c.name,
		"userIdentity": map[string]any{"type": "AssumedRole", "principalId": "AROAEXAMPLE:" + c.user.by, "arn": c.user.actor(), "accountId": mototest.Account, "sessionContext": map[string]any{"sessionIssuer": issuer}},
		"awsRegion":    mototest.Region, "sourceIPAddress": "192.0.2.7", "userAgent": "aws-cli/2.31", "requestParameters": parameters, "responseElements": nil,
		"requestID": "request-" + c.id, "eventID": c.id, "readOnly": false, "eventType": "AwsApiCall", "managementEvent": true,
		"recipientAccountId": mototest.Account, "eventCategory": "Management",
	}
	if c.user.sub != "" {
		parameters["username"] = "HIDDEN_DUE_TO_SECURITY_REASONS"
		r["additionalEventData"] = map[string]any{"sub": c.user.sub}
	}
	if c.reissues != "" {
		r["addendum"] = map[string]any{"reason": "UPDATED_DATA", "updatedFields": "sourceIPAddress", "originalEventID": c.reissues}
	}
	raw, err := json.Marshal(r)
	if err != nil {
		panic(err) // cannot happen: strings and booleans
	}
	return string(raw)
}

// disable is the record of an administrator's disable of a user.
func disable(pool mfa.PoolID, sub mfa.Sub, id string, at time.Time) string {
	c := user{pool: pool, sub: sub, by: "ops-7"}.disabled(at)
	c.id = id
	return c.record()
}

// deliver puts the calls on the default bus and hands audit what the rule sends
// to its queue, which it returns.
func (s *stage) deliver(t *testing.T, calls ...call) []sqstypes.Message {
	t.Helper()
	for _, c := range calls {
		s.Put(t, c.record())
	}
	return s.hand(t, s.audit, wiretest.AuditQueue)
}

// hand hands a function what waits in its queue. None of it may fail.
func (s *stage) hand(t *testing.T, f *lambdatest.Function, q wiretest.Queue) []sqstypes.Message {
	t.Helper()
	waiting := s.Take(t, q)
	if len(waiting) == 0 {
		t.Fatalf("nothing waits in %s", q)
	}
	if failed := give(t, f, q, waiting...); len(failed) > 0 {
		t.Fatalf("%d of %d messages failed", len(failed), len(waiting))
	}
	return waiting
}

// give hands a function a batch and returns the ids of what must come again.
func give(t *testing.T, f *lambdatest.Function, q wiretest.Queue, messages ...sqstypes.Message) []string {
	t.Helper()
	raw, err := f.Invoke(t.Context(), wiretest.Batch(t, q, messages...))
	must(t, err)
	var answer struct {
		BatchItemFailures []struct {
			ItemIdentifier string `json:"itemIdentifier"`
		} `json:"batchItemFailures"`
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	must(t, d.Decode(&answer))
	var ids []string
	for _, f := range answer.BatchItemFailures {
		ids = append(ids, f.ItemIdentifier)
	}
	return ids
}

// message is one that no queue has seen.
func message(body string) sqstypes.Message {
	return sqstypes.Message{MessageId: new(rand.Text()), Body: &body}
}

// sweeps has sweep invoked and returns what it said of its end.
func (s *stage) sweeps(t *testing.T) swept {
	t.Helper()
	_, err := s.sweep.Invoke(t.Context(), []byte(`{}`))
	must(t, err)
	return endOf(t, s.sweep)
}

// swept is what a sweep says of its end, in CloudWatch's embedded format.
type swept struct {
	SweepComplete                                          int
	SweepAge                                               *int
	OverridesOpen, OverridesOverdue, OverridesUnrestorable *int
}

func endOf(t *testing.T, sweep *lambdatest.Function) swept {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(sweep.Output()), "\n")
	var line struct {
		Msg string
		swept
	}
	must(t, json.Unmarshal([]byte(lines[len(lines)-1]), &line))
	if line.Msg != "sweep" {
		t.Fatalf("the last line of a sweep is %s", lines[len(lines)-1])
	}
	return line.swept
}

// heard takes what came to on-call's queue from the alert bus. What came twice,
// because an answer was lost, is once in it.
func (s *stage) heard(t *testing.T) []alert.Alert {
	t.Helper()
	var all []alert.Alert
	for _, m := range s.Take(t, wiretest.AlertQueue) {
		var e struct {
			Source     string      `json:"source"`
			DetailType string      `json:"detail-type"`
			Detail     alert.Alert `json:"detail"`
		}
		must(t, json.Unmarshal([]byte(*m.Body), &e))
		if e.Source != "relatch" || e.DetailType != "MFA Alert" || e.Detail.Schema != "relatch.alert/1" {
			t.Errorf("%s, %s, %s is no alert", e.Source, e.DetailType, e.Detail.Schema)
		}
		if !slices.ContainsFunc(all, func(a alert.Alert) bool { return cmp.Equal(a, e.Detail) }) {
			all = append(all, e.Detail)
		}
	}
	return all
}

// states are the alerts without their words.
func states(alerts []alert.Alert) []mfa.Alert {
	var all []mfa.Alert
	for _, a := range alerts {
		all = append(all, a.Alert)
	}
	return all
}

// standing is that of a journal.
func (s *stage) standing(t *testing.T, journal string) mfa.Standing {
	t.Helper()
	loaded, err := s.ledger.Load(t.Context(), worker.Query{Journal: journal})
	must(t, err)
	return loaded.Standing
}

// records are a journal's, once it has been seen that it is whole: the items are
// the entries, each one is chained to the one before, the standing has the head,
// and a function has logged each record byte for byte, with the head that it made.
func (s *stage) records(t *testing.T, journal string) []mfa.Record {
	t.Helper()
	var records []mfa.Record
	last := mfa.Entry{Journal: journal}
	items := s.items(t, journal)
	for e, err := range s.ledger.Entries(t.Context(), journal) {
		must(t, err)
		if e.Journal != journal || e.Number != last.Number+1 || e.Prev != last.Hash || e.Hash != e.Sum() {
			t.Errorf("entry %d of %s is not chained to the one before", e.Number, journal)
		}
		if e.Number > len(items) || items[e.Number-1] != string(e.Record) {
			t.Errorf("entry %d of %s is not the item", e.Number, journal)
		}
		if !s.logs(e) {
			t.Errorf("no function has logged entry %d of %s: %s", e.Number, journal, e.Record)
		}
		var r mfa.Record
		must(t, json.Unmarshal(e.Record, &r))
		records, last = append(records, r), e
	}
	if st := s.standing(t, journal); st.Entries != len(records) || len(items) != len(records) || st.Head != last.Hash {
		t.Errorf("%s stands at entry %d, %s; it has %d in %d items, up to %s", journal, st.Entries, st.Head, len(records), len(items), last.Hash)
	}
	return records
}

// items are the records in a journal's partition, in the order of the sort key.
func (s *stage) items(t *testing.T, journal string) []string {
	t.Helper()
	out, err := s.DynamoDB.Query(t.Context(), &dynamodb.QueryInput{
		TableName: &s.table, ConsistentRead: new(true), KeyConditionExpression: new("pk = :pk AND begins_with(sk, :sk)"),
		ExpressionAttributeValues: map[string]types.AttributeValue{":pk": &types.AttributeValueMemberS{Value: journal}, ":sk": &types.AttributeValueMemberS{Value: "entry/"}},
	})
	must(t, err)
	var all []string
	for _, item := range out.Items {
		record, _ := item["record"].(*types.AttributeValueMemberS)
		all = append(all, record.Value)
	}
	return all
}

// logs reports whether a function has logged the entry: the members of its record
// as they are, and the head.
func (s *stage) logs(e mfa.Entry) bool {
	record := string(e.Record[1 : len(e.Record)-1])
	head := fmt.Sprintf(`"head":{"journal":%q,"number":%d,"hash":%q}`, e.Journal, e.Number, e.Hash)
	return slices.ContainsFunc(s.outputs, func(f *lambdatest.Function) bool {
		for line := range strings.Lines(f.Output()) {
			if strings.Contains(line, record) && strings.Contains(line, head) {
				return true
			}
		}
		return false
	})
}

// logged are the records that audit has logged of an event, also those that are
// in no journal.
func (s *stage) logged(t *testing.T, key string) []mfa.Record {
	t.Helper()
	var all []mfa.Record
	for line := range strings.Lines(s.audit.Output()) {
		var r mfa.Record
		must(t, json.Unmarshal([]byte(line), &r))
		if r.Schema == mfa.RecordSchema && r.Cause.Key == key {
			all = append(all, r)
		}
	}
	return all
}

// timer is the schedule of the user's override, open or past; nil if there is none.
func (s *stage) timer(t *testing.T, u user) *scheduler.GetScheduleOutput {
	t.Helper()
	st := s.standing(t, u.journal())
	var id string
	switch {
	case st.Override != nil:
		id = st.Override.ID
	case len(st.Past) > 0:
		id = st.Past[len(st.Past)-1].ID
	}
	timer, err := s.Scheduler.GetSchedule(t.Context(), &scheduler.GetScheduleInput{Name: new("relatch-" + id), GroupName: new(wiretest.ScheduleGroup)})
	if _, ok := errors.AsType[*schedulertypes.ResourceNotFoundException](err); ok {
		return nil
	}
	must(t, err)
	return timer
}

// loseTimer deletes the schedule, as somebody does behind Relatch's back and as
// the scheduler does when it has fired.
func (s *stage) loseTimer(t *testing.T, u user) {
	t.Helper()
	_, err := s.Scheduler.DeleteSchedule(t.Context(), &scheduler.DeleteScheduleInput{Name: s.timer(t, u).Name, GroupName: new(wiretest.ScheduleGroup)})
	gone(t, err)
}

// isDiscreet fails the test if a username is in the ledger or in what a function
// has printed.
func (s *stage) isDiscreet(t *testing.T) {
	t.Helper()
	var all strings.Builder
	for _, f := range s.outputs {
		all.WriteString(f.Output())
	}
	for pages := dynamodb.NewScanPaginator(s.DynamoDB, &dynamodb.ScanInput{TableName: &s.table}); pages.HasMorePages(); {
		page, err := pages.NextPage(t.Context())
		must(t, err)
		for _, item := range page.Items {
			for _, value := range item {
				if text, ok := value.(*types.AttributeValueMemberS); ok {
					all.WriteString(text.Value)
				}
			}
		}
	}
	for _, name := range s.names {
		if strings.Contains(all.String(), name) {
			t.Errorf("the username %s is told", name)
		}
	}
}
