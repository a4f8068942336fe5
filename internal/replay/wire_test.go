package replay

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	awsretry "github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	dynamodbtypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	gocmp "github.com/google/go-cmp/cmp"

	"github.com/stackflow/relatch/internal/account"
	"github.com/stackflow/relatch/internal/alert"
	"github.com/stackflow/relatch/internal/cloud"
	"github.com/stackflow/relatch/internal/cognito"
	"github.com/stackflow/relatch/internal/config"
	"github.com/stackflow/relatch/internal/dynamo"
	"github.com/stackflow/relatch/internal/faulttest"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/mototest"
	"github.com/stackflow/relatch/internal/queue"
	"github.com/stackflow/relatch/internal/wiretest"
	"github.com/stackflow/relatch/internal/worker"
)

// wire has replays run on moto and DynamoDB Local: the worker's ports are those
// of the functions, made by cloud.Open. The account in memory goes on driving
// the clock: what people do in it is done over the wire too before the worker
// looks, and what the worker does over the wire is done in it too.
type wire struct {
	*wiretest.Account
	t      testing.TB
	names  *names
	faults *faulttest.Wire
	config config.Config
	mail   bool // the scenario's first pool is the one with e-mail addresses

	mu sync.Mutex // the account in memory bears one call at a time

	// Of the run.
	memory    *account.Account
	tested    *cloud.Cloud     // over the wire that fails
	plain     *cloud.Cloud     // over one that does not, as an administrator
	refused   map[mfa.Sub]bool // every restore of him
	journals  map[string]bool
	timers    map[string]bool
	sent      []alert.Alert
	signedOut map[string]bool

	// What there is on the wire, also after the run.
	of          string // the scenario's name
	runs        int
	pools       map[mfa.PoolID]mfa.Pool // by the scenario's ids
	groups      map[string]bool
	users       map[string]account.UserFile // by journal
	tokens      map[string]bool             // who has one, by journal
	policy      []byte
	untriggered map[string]bool // pools without the pre-token trigger, by moto's ids
}

func openWire(t testing.TB) *wire {
	t.Helper()
	w := &wire{Account: wiretest.Open(t), t: t, names: &names{next: http.DefaultTransport}, policy: mfa.DefaultDocument(), untriggered: map[string]bool{}}
	w.faults = faulttest.New(w.names)
	var err error
	if w.config, err = config.Read(w.Environment("RELATCH_POLICY_FOR=0s")); err != nil {
		t.Fatal(err)
	}
	return w
}

// open makes the clients that a function has, with less patience, and without
// quotas, which moto has not.
func (w *wire) open(transport http.RoundTripper, now func() time.Time) *cloud.Cloud {
	w.t.Helper()
	environment := map[string]string{}
	for _, variable := range w.Environment() {
		name, value, _ := strings.Cut(variable, "=")
		environment[name] = value
	}
	a, err := cloud.Load(func(name string) string { return environment[name] })
	if err != nil {
		w.t.Fatal(err)
	}
	a.HTTPClient, a.Logger = &http.Client{Transport: transport}, w.Dynamo.Logger
	a.Retryer = func() aws.Retryer {
		return awsretry.NewStandard(func(o *awsretry.StandardOptions) { o.MaxBackoff, o.RateLimiter = time.Millisecond, ratelimit.None })
	}
	c := cloud.Open(a, w.config, now)
	client := cognitoidentityprovider.NewFromConfig(a)
	c.Ports.Users = cognito.New(client, cognito.Options{ListedOnly: true, Now: now})
	c.Writer = cognito.NewWriter(client, nil)
	return c
}

// run replays the scenario over the wire, on which the calls of the numbers are
// spoiled. What fails comes again.
func (w *wire) run(s Scenario, spoiled map[int]faulttest.Kind) (Result, error) {
	w.t.Helper()
	w.begin(s)
	result, err := Run(w.t.Context(), s, Options{
		Together: worker.Together,
		Ports: func(p worker.Ports, now func() time.Time) worker.Ports {
			w.memory = p.Users.(*account.Account) //nolint:errcheck // it is what Run has
			w.tested, w.plain = w.open(w.faults, now), w.open(w.names, now)
			w.seed()
			w.faults.Spoil(spoiled)
			return worker.Ports{Users: w, Writer: w, Ledger: w, Timer: w, Queue: w, Alerts: w, Policy: w}
		},
		Crashed: func(error) (time.Duration, bool) { return redelivered, true },
	})
	w.mirrorTimers()
	return result, err
}

// begin empties what a run before left behind, but not what can be of use again:
// users of the same scenario.
func (w *wire) begin(s Scenario) {
	w.t.Helper()
	if w.plain != nil {
		for name := range w.timers {
			w.must("cancel a timer", w.plain.Ports.Timer.Cancel(w.t.Context(), name))
		}
	}
	if w.of != s.Name {
		for _, u := range w.users {
			w.delete(u)
		}
		w.of, w.users, w.pools, w.groups, w.tokens = s.Name, map[string]account.UserFile{}, map[mfa.PoolID]mfa.Pool{}, map[string]bool{}, map[string]bool{}
		ids := []mfa.PoolID{w.Account.Pool, w.EmailPool}
		if w.mail {
			slices.Reverse(ids)
		}
		w.names.pools = map[mfa.PoolID]mfa.PoolID{}
		for i, p := range s.Account.Pools {
			w.names.pools[p.ID] = ids[i]
		}
		w.names.subs = map[mfa.Sub]mfa.Sub{}
	}
	w.runs++
	w.config.Table = fmt.Sprintf("relatch-%d", w.runs)
	if _, err := w.DynamoDB.CreateTable(w.t.Context(), dynamo.Table(w.config.Table)); err != nil {
		w.t.Fatal(err)
	}
	w.refused, w.journals, w.timers, w.signedOut, w.sent = map[mfa.Sub]bool{}, map[string]bool{}, map[string]bool{}, map[string]bool{}, nil
	for _, f := range s.Account.Faults {
		w.refused[f.Sub] = w.refused[f.Sub] || f.Do == account.RefuseRestore
	}
}

func (w *wire) must(what string, err error) {
	w.t.Helper()
	if err != nil {
		w.t.Errorf("%s: %v", what, err)
	}
}

// seed copies what the account in memory knew before the start.
func (w *wire) seed() {
	for _, journal := range w.memory.Journals() {
		loaded, err := w.memory.Load(w.t.Context(), worker.Query{Journal: journal})
		w.must("load", err)
		loaded.Standing.Version--
		w.must("seed", w.plain.Ledger.Append(w.t.Context(), worker.Step{Standing: loaded.Standing}))
		w.journals[journal] = true
	}
}

// mirror does over the wire what has been done in memory to users and pools.
func (w *wire) mirror() {
	now := map[string]account.UserFile{}
	for _, u := range w.memory.Users() {
		u.Factors, u.Registered, u.Roles = slices.Clone(u.Factors), slices.Clone(u.Registered), slices.Clone(u.Roles)
		now[mfa.UserJournal(u.Pool, u.Sub)] = u
	}
	for journal, was := range w.users {
		if _, there := now[journal]; !there {
			w.delete(was)
			delete(w.users, journal)
		}
	}
	for journal, is := range now {
		was, known := w.users[journal]
		w.users[journal] = is
		refused := w.refused[is.Sub] && len(is.Factors) == 0 // moto refuses one who has no token
		if token := slices.Contains(is.Registered, mfa.TOTP) && !refused; !known || w.tokens[journal] != token {
			if known {
				w.delete(was) // moto cannot take a token back
			}
			was = w.add(is, token)
		}
		w.change(was, is)
	}
	for id := range w.names.pools {
		p, err := w.memory.Pool(w.t.Context(), id, nil, time.Time{})
		w.must("look at the pool in memory", err)
		if fmt.Sprint(w.pools[id]) != fmt.Sprint(p) {
			w.pools[id] = p
			w.setPool(id, p)
		}
	}
}

func (w *wire) id(pool mfa.PoolID) *string { return new(string(w.names.pools[pool])) }

func username(u account.UserFile) string {
	return cmp.Or(u.Username, "nobody-"+u.CreatedAt.Format("20060102150405"))
}

func (w *wire) delete(u account.UserFile) {
	_, err := w.Cognito.AdminDeleteUser(w.t.Context(), &cognitoidentityprovider.AdminDeleteUserInput{UserPoolId: w.id(u.Pool), Username: new(username(u))})
	if !mototest.Gone(err) {
		w.must("delete user", err)
	}
	w.names.forget(u.Sub)
}

// add makes the user, and returns what he then is.
func (w *wire) add(u account.UserFile, token bool) account.UserFile {
	p := wiretest.Person{Pool: w.names.pools[u.Pool], Name: username(u), Registered: mfa.Without(u.Registered, []mfa.Factor{mfa.TOTP})}
	if token {
		p.Registered = append(p.Registered, mfa.TOTP)
	}
	w.names.learn(u.Sub, w.Add(w.t, p))
	w.tokens[mfa.UserJournal(u.Pool, u.Sub)] = token
	return account.UserFile{Enabled: new(true)}
}

func (w *wire) change(was, is account.UserFile) {
	ctx, id, name := w.t.Context(), w.id(is.Pool), new(username(is))
	for _, role := range mfa.Without(is.Roles, was.Roles) {
		w.makeGroup(is.Pool, role)
		_, err := w.Cognito.AdminAddUserToGroup(ctx, &cognitoidentityprovider.AdminAddUserToGroupInput{UserPoolId: id, Username: name, GroupName: new(string(role))})
		w.must("add to group", err)
	}
	for _, role := range mfa.Without(was.Roles, is.Roles) {
		_, err := w.Cognito.AdminRemoveUserFromGroup(ctx, &cognitoidentityprovider.AdminRemoveUserFromGroupInput{UserPoolId: id, Username: name, GroupName: new(string(role))})
		w.must("remove from group", err)
	}
	if *was.Enabled && !*is.Enabled {
		_, err := w.Cognito.AdminDisableUser(ctx, &cognitoidentityprovider.AdminDisableUserInput{UserPoolId: id, Username: name})
		w.must("disable user", err)
	}
	if !*was.Enabled && *is.Enabled {
		_, err := w.Cognito.AdminEnableUser(ctx, &cognitoidentityprovider.AdminEnableUserInput{UserPoolId: id, Username: name})
		w.must("enable user", err)
	}
	if !slices.Equal(was.Factors, is.Factors) || was.Preferred != is.Preferred {
		w.Set(w.t, w.names.pools[is.Pool], w.names.real(is.Sub), is.Factors, is.Preferred)
	}
}

func (w *wire) makeGroup(pool mfa.PoolID, role mfa.Role) {
	if key := string(pool) + "/" + string(role); !w.groups[key] {
		w.groups[key] = true
		_, err := w.Cognito.CreateGroup(w.t.Context(), &cognitoidentityprovider.CreateGroupInput{UserPoolId: w.id(pool), GroupName: new(string(role))})
		if !mototest.Lost(err) {
			w.must("create group", err)
		}
	}
}

func (w *wire) deleteGroup(pool mfa.PoolID, role mfa.Role) {
	if key := string(pool) + "/" + string(role); w.groups[key] {
		w.groups[key] = false
		_, err := w.Cognito.DeleteGroup(w.t.Context(), &cognitoidentityprovider.DeleteGroupInput{UserPoolId: w.id(pool), GroupName: new(string(role))})
		if _, missing := errors.AsType[*types.ResourceNotFoundException](err); !missing {
			w.must("delete group", err)
		}
	}
}

func (w *wire) setPool(id mfa.PoolID, p mfa.Pool) {
	in := &cognitoidentityprovider.SetUserPoolMfaConfigInput{UserPoolId: w.id(id), MfaConfiguration: types.UserPoolMfaType(strings.ToUpper(string(p.Mode)))}
	if slices.Contains(p.Factors, mfa.TOTP) {
		in.SoftwareTokenMfaConfiguration = &types.SoftwareTokenMfaConfigType{Enabled: true}
	}
	if slices.Contains(p.Factors, mfa.SMS) {
		in.SmsMfaConfiguration = &types.SmsMfaConfigType{SmsConfiguration: &types.SmsConfigurationType{SnsCallerArn: new(wiretest.AuditRole)}}
	}
	_, err := w.Cognito.SetUserPoolMfaConfig(w.t.Context(), in)
	w.must("set the pool's MFA", err)
	if w.untriggered[*in.UserPoolId] == !p.PreToken {
		return // moto forgets what an update leaves out, also what sorts of usernames the pool has
	}
	w.untriggered[*in.UserPoolId] = !p.PreToken
	triggers := &types.LambdaConfigType{}
	if p.PreToken {
		triggers.PreTokenGeneration = new("arn:aws:lambda:us-east-1:123456789012:function:pretoken")
	}
	_, err = w.Cognito.UpdateUserPool(w.t.Context(), &cognitoidentityprovider.UpdateUserPoolInput{UserPoolId: w.id(id), LambdaConfig: triggers})
	w.must("update pool", err)
}

// mirrorTimers removes the timers that have fired, which moto's never do, and
// those that were lost.
func (w *wire) mirrorTimers() {
	for name := range w.timers {
		if stands, _ := w.memory.Stands(w.t.Context(), name); !stands {
			w.must("cancel a timer", w.plain.Ports.Timer.Cancel(w.t.Context(), name))
			delete(w.timers, name)
		}
	}
}

func (w *wire) mirrored(do func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mirror()
	if do != nil {
		do()
	}
}

// User implements worker.UserPool. When a user was made, and that he came from
// elsewhere, moto cannot be told.
func (w *wire) User(ctx context.Context, pool mfa.PoolID, sub mfa.Sub) (mfa.User, error) {
	var known mfa.User
	w.mirrored(func() { known, _ = w.memory.User(ctx, pool, sub) })
	u, err := w.tested.Ports.Users.User(ctx, pool, sub)
	if u.Found {
		u.CreatedAt, u.Federated, u.Username = known.CreatedAt, known.Federated, known.Username
	}
	return u, err
}

// Pool implements worker.UserPool.
func (w *wire) Pool(ctx context.Context, id mfa.PoolID, roles []mfa.Role, since time.Time) (mfa.Pool, error) {
	w.mirrored(func() {
		p, _ := w.memory.Pool(ctx, id, roles, since)
		for _, role := range roles {
			if slices.Contains(p.Groups, role) {
				w.makeGroup(id, role)
			} else {
				w.groups[string(id)+"/"+string(role)] = true
				w.deleteGroup(id, role)
			}
		}
	})
	return w.tested.Ports.Users.Pool(ctx, id, roles, since)
}

// Members implements worker.UserPool.
func (w *wire) Members(ctx context.Context, id mfa.PoolID, role mfa.Role) iter.Seq2[mfa.Sub, error] {
	w.mirrored(nil)
	return w.tested.Ports.Users.Members(ctx, id, role)
}

// Enable implements worker.UserWriter. Whatever came back of it, the account in
// memory has then what there is on the wire.
func (w *wire) Enable(ctx context.Context, pool mfa.PoolID, sub mfa.Sub, factors []mfa.Factor, preferred mfa.Factor) error {
	w.mirrored(nil)
	err := w.tested.Writer.Enable(ctx, pool, sub, factors, preferred)
	seen, plainErr := w.plain.Ports.Users.User(ctx, pool, sub)
	w.must("look at the user", plainErr)
	w.mu.Lock()
	defer w.mu.Unlock()
	journal := mfa.UserJournal(pool, sub)
	if was := w.users[journal]; len(mfa.Without(seen.Factors, was.Factors)) > 0 {
		w.must("enable in memory", w.memory.Enable(ctx, pool, sub, mfa.Without(seen.Factors, was.Factors), seen.Preferred))
		was.Factors, was.Preferred = seen.Factors, seen.Preferred
		w.users[journal] = was
	}
	return err
}

// SignOut implements worker.UserWriter.
func (w *wire) SignOut(ctx context.Context, pool mfa.PoolID, sub mfa.Sub) error {
	w.mirrored(nil)
	err := w.tested.Writer.SignOut(ctx, pool, sub)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.signedOut[mfa.UserJournal(pool, sub)] = err == nil
	return err
}

// Load implements worker.Ledger.
func (w *wire) Load(ctx context.Context, q worker.Query) (worker.Loaded, error) {
	return w.tested.Ledger.Load(ctx, q)
}

// Append implements worker.Ledger.
func (w *wire) Append(ctx context.Context, s worker.Step) error {
	w.mu.Lock()
	w.journals[s.Standing.Journal] = true
	w.mu.Unlock()
	return w.tested.Ledger.Append(ctx, s)
}

// Justifications implements worker.Ledger.
func (w *wire) Justifications(ctx context.Context, pool mfa.PoolID, sub mfa.Sub) ([]mfa.Justification, error) {
	w.mu.Lock()
	recorded, _ := w.memory.Justifications(ctx, pool, sub)
	for _, j := range recorded {
		if first := j.TicketOf; first != nil { // a ticket is whose it was first
			others, _ := w.memory.Justifications(ctx, first.Pool, first.Sub)
			w.record(ctx, first.Pool, first.Sub, others)
		}
	}
	w.record(ctx, pool, sub, recorded)
	w.mu.Unlock()
	return w.tested.Ledger.Justifications(ctx, pool, sub)
}

// record has the ledger on the wire know what the one in memory knows.
func (w *wire) record(ctx context.Context, pool mfa.PoolID, sub mfa.Sub, all []mfa.Justification) {
	for _, j := range all {
		_, err := w.plain.Ledger.Justify(ctx, pool, sub, j)
		w.must("justify", err)
		if j.Approver != "" {
			_, err = w.plain.Ledger.Approve(ctx, pool, sub, j.ID, mfa.Approval{Approver: j.Approver, At: j.At})
			w.must("approve", err)
		}
	}
}

// Open implements worker.Ledger.
func (w *wire) Open(ctx context.Context, pool mfa.PoolID) iter.Seq2[mfa.Standing, error] {
	return w.tested.Ledger.Open(ctx, pool)
}

// Schedule implements worker.Timer.
func (w *wire) Schedule(ctx context.Context, name string, at time.Time, pool mfa.PoolID, sub mfa.Sub) error {
	w.mu.Lock()
	w.mirrorTimers()
	w.mu.Unlock()
	err := w.tested.Ports.Timer.Schedule(ctx, name, at, pool, sub)
	w.mu.Lock()
	defer w.mu.Unlock()
	if stands, plainErr := w.plain.Ports.Timer.Stands(ctx, name); stands && plainErr == nil {
		w.timers[name] = true
		w.must("schedule in memory", w.memory.Schedule(ctx, name, at, pool, sub))
	}
	return err
}

// Cancel implements worker.Timer.
func (w *wire) Cancel(ctx context.Context, name string) error {
	err := w.tested.Ports.Timer.Cancel(ctx, name)
	w.mu.Lock()
	defer w.mu.Unlock()
	if stands, plainErr := w.plain.Ports.Timer.Stands(ctx, name); !stands && plainErr == nil {
		w.must("cancel in memory", w.memory.Cancel(ctx, name))
		delete(w.timers, name)
	}
	return err
}

// Stands implements worker.Timer.
func (w *wire) Stands(ctx context.Context, name string) (bool, error) {
	w.mu.Lock()
	w.mirrorTimers()
	w.mu.Unlock()
	return w.tested.Ports.Timer.Stands(ctx, name)
}

// Ask implements worker.Queue: what comes out of the queue is what the replay
// hands to reenable.
func (w *wire) Ask(ctx context.Context, pool mfa.PoolID, sub mfa.Sub) error {
	err := w.tested.Ports.Queue.Ask(ctx, pool, sub)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, raw := range w.take(wiretest.ReenableQueue) {
		var m queue.Message
		w.must("read the message to reenable", json.Unmarshal(raw, &m))
		w.must("ask in memory", w.memory.Ask(ctx, m.Pool, m.Sub))
	}
	return err
}

// Send implements worker.Alerts: what on-call's queue gets is what the replay hears.
func (w *wire) Send(ctx context.Context, alerts []alert.Alert) error {
	err := w.tested.Ports.Alerts.Send(ctx, alerts)
	w.mu.Lock()
	defer w.mu.Unlock()
	var got []alert.Alert
	for _, raw := range w.take(wiretest.AlertQueue) {
		var event struct {
			Detail alert.Alert `json:"detail"`
		}
		w.must("read the alert", json.Unmarshal(raw, &event))
		got = append(got, event.Detail)
	}
	w.sent = append(w.sent, got...)
	w.must("send in memory", w.memory.Send(ctx, got))
	return err
}

// take takes all messages out of the queue, the same one once: where a
// connection of moto's is lost, the SDK sends again.
func (w *wire) take(q wiretest.Queue) [][]byte {
	var all [][]byte
	for _, m := range w.Take(w.t, q) {
		raw := []byte(*m.Body)
		if !slices.ContainsFunc(all, func(other []byte) bool { return bytes.Equal(other, raw) }) {
			all = append(all, raw)
		}
	}
	return all
}

// Read implements worker.PolicySource.
func (w *wire) Read(ctx context.Context) ([]byte, error) {
	w.mu.Lock()
	raw, _ := w.memory.Read(ctx)
	switch {
	case bytes.Equal(raw, w.policy):
	case raw == nil:
		_, err := w.DynamoDB.DeleteItem(ctx, &dynamodb.DeleteItemInput{
			TableName: new(wiretest.PropertyTable), Key: map[string]dynamodbtypes.AttributeValue{"name": &dynamodbtypes.AttributeValueMemberS{Value: "mfa.required_roles"}},
		})
		w.must("delete the policy", err)
	default:
		w.SetPolicy(w.t, string(raw))
	}
	w.policy = raw
	w.mu.Unlock()
	return w.tested.Ports.Policy.Read(ctx)
}

// Journals are those that the ledger on the wire has.
func (w *wire) Journals() []string { return slices.Sorted(maps.Keys(w.journals)) }

// Entries returns a journal's entries, the oldest first.
func (w *wire) Entries(journal string) []mfa.Entry {
	var all []mfa.Entry
	for e, err := range w.plain.Ledger.Entries(w.t.Context(), journal) {
		w.must("list entries", err)
		all = append(all, e)
	}
	return all
}

// names are what moto calls pools and users whose ids a scenario has made up:
// in what is sent to Cognito they are replaced, and put back in what it answers.
// So the worker sees the scenario's, and writes the very records of it.
type names struct {
	next http.RoundTripper

	mu        sync.Mutex
	pools     map[mfa.PoolID]mfa.PoolID
	subs      map[mfa.Sub]mfa.Sub
	out, back *strings.Replacer
}

func (n *names) learn(sub, as mfa.Sub) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.subs[sub] = as
	n.out = nil
}

func (n *names) forget(sub mfa.Sub) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.subs, sub)
	n.out = nil
}

func (n *names) real(sub mfa.Sub) mfa.Sub {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.subs[sub]
}

func (n *names) replacers() (out, back *strings.Replacer) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.out == nil {
		var to, from []string
		for id, real := range n.pools {
			to, from = append(to, string(id), string(real)), append(from, string(real), string(id))
		}
		for sub, real := range n.subs {
			to, from = append(to, string(sub), string(real)), append(from, string(real), string(sub))
		}
		n.out, n.back = strings.NewReplacer(to...), strings.NewReplacer(from...)
	}
	return n.out, n.back
}

// RoundTrip implements http.RoundTripper.
func (n *names) RoundTrip(r *http.Request) (*http.Response, error) {
	if !strings.HasPrefix(r.Header.Get("X-Amz-Target"), "AWSCognitoIdentityProviderService.") {
		return n.next.RoundTrip(r)
	}
	out, back := n.replacers()
	sent := r.Clone(r.Context())
	var err error
	if sent.Body, sent.ContentLength, err = replaced(r.Body, out); err != nil {
		return nil, err
	}
	answer, err := n.next.RoundTrip(sent)
	if err != nil {
		return nil, err
	}
	answer.Header.Del("Content-Length")
	if answer.Body, answer.ContentLength, err = replaced(answer.Body, back); err != nil {
		return nil, err
	}
	return answer, nil
}

func replaced(body io.ReadCloser, by *strings.Replacer) (io.ReadCloser, int64, error) {
	raw, err := io.ReadAll(body)
	if err = errors.Join(err, body.Close()); err != nil {
		return nil, 0, err
	}
	text := by.Replace(string(raw))
	return io.NopCloser(strings.NewReader(text)), int64(len(text)), nil
}

// overTheWire plays the scenarios on two servers at once, each a part of them.
func overTheWire(t *testing.T, all []Scenario, play func(*testing.T, *wire, Scenario)) {
	t.Helper()
	const servers = 2
	for server := range servers {
		t.Run(fmt.Sprintf("server %d", server+1), func(t *testing.T) {
			t.Parallel()
			w := openWire(t)
			for i := server; i < len(all); i += servers {
				t.Run(all[i].Name, func(t *testing.T) {
					w.t = t
					play(t, w, all[i])
				})
			}
		})
	}
}

// Every scenario gives over the wire the very records that it gives in memory,
// with the same hashes. The clock is the replay's, since moto has none: when a
// user was made, and that he came from elsewhere, are put in where it shows him.
func TestEveryScenarioGivesTheSameRecordsOverTheWire(t *testing.T) {
	all := slices.DeleteFunc(slices.Clone(scenariosOf(t)), func(s Scenario) bool { return notOnMoto[s.Name] != "" })
	if testing.Short() {
		all = all[:10]
	}
	overTheWire(t, all, func(t *testing.T, w *wire, s Scenario) {
		s = knownToMoto(cutDown(s, 7))
		want, err := Run(t.Context(), s, Options{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := w.run(s, nil)
		if err != nil {
			t.Fatal(err)
		}
		w.same(t, want, got)
	})
}

// notOnMoto are the scenarios that moto cannot play, and why.
var notOnMoto = map[string]string{
	"phone-number-deleted": "it switches SMS on for a user who has no phone number",
	"webauthn-alone":       "it has no passkeys",
}

// knownToMoto leaves out the factors of pools that moto does not know.
func knownToMoto(s Scenario) Scenario {
	file := *s.Account
	file.Pools = slices.Clone(file.Pools)
	for i := range file.Pools {
		file.Pools[i].Factors = mfa.Both(file.Pools[i].Factors, []mfa.Factor{mfa.TOTP, mfa.SMS})
	}
	s.Account = &file
	return s
}

// same fails the test unless the run over the wire ended as the one in memory.
func (w *wire) same(t *testing.T, want, got Result) {
	t.Helper()
	if diff := gocmp.Diff(want.Records, got.Records); diff != "" {
		t.Errorf("records (-memory +wire):\n%s", diff)
	}
	if diff := gocmp.Diff(want.Summary, got.Summary); diff != "" {
		t.Errorf("summary (-memory +wire):\n%s", diff)
	}
	if diff := gocmp.Diff(want.OpenIncidents, got.OpenIncidents); diff != "" {
		t.Errorf("open incidents (-memory +wire):\n%s", diff)
	}
	if diff := gocmp.Diff(want.Account.Journals(), w.Journals()); diff != "" {
		t.Errorf("journals (-memory +wire):\n%s", diff)
	}
	for _, journal := range want.Account.Journals() {
		if diff := gocmp.Diff(want.Account.Entries(journal), w.Entries(journal)); diff != "" {
			t.Errorf("%s (-memory +wire):\n%s", journal, diff)
		}
	}
	for _, u := range want.Users {
		seen, err := w.plain.Ports.Users.User(t.Context(), u.Pool, u.Sub)
		if err != nil || !seen.Found || seen.Enabled != *u.Enabled || !slices.Equal(seen.Factors, u.Factors) || seen.Preferred != u.Preferred {
			t.Errorf("user %s: %+v, %v; in memory %+v", u.Sub, seen, err, u)
		}
	}
	if left := w.Schedules(t); len(left) != want.Timers {
		t.Errorf("%d schedules are left, %d in memory", len(left), want.Timers)
	}
}
