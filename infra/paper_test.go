package infra_test

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"

	memory "github.com/stackflow/relatch/internal/account"
	"github.com/stackflow/relatch/internal/cognito"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/worker"
)

// Scale and cost on paper: what the README says of them is worked out of the
// template's own defaults, of the calls that the worker makes, and of AWS's
// quotas and prices.

// readme fails the test if the README has not the line.
func readme(t *testing.T, line string) {
	t.Helper()
	if !strings.Contains("\n"+contents(t, "../README.md"), "\n"+line+"\n") {
		t.Errorf("the README does not say:\n%s", line)
	}
}

// quotas are Cognito's, in calls a second for an account and Region (Cognito
// Developer Guide, "Quotas"), by what counts against one.
var quotas = map[string]float64{"UserRead": 120, "UserResourceRead": 50, "UserResourceUpdate": 25, "UserUpdate": 25}

// directory is a Cognito with one user, which counts what it is asked. What it is
// not asked here is nil.
type directory struct {
	cognito.Reader
	on    bool
	mu    sync.Mutex // a user is asked for in several ways at once
	calls map[string]float64
}

func (d *directory) counted(category string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls[category]++
}

const paperSub = "87a42a58-6051-7076-79e2-fe9208b6ae3c"

func (d *directory) AdminGetUser(context.Context, *cognitoidentityprovider.AdminGetUserInput, ...func(*cognitoidentityprovider.Options)) (*cognitoidentityprovider.AdminGetUserOutput, error) {
	d.counted("UserRead")
	out := &cognitoidentityprovider.AdminGetUserOutput{
		Username: new("maria"), Enabled: true, UserStatus: types.UserStatusTypeConfirmed, UserCreateDate: new(time.Unix(0, 0)),
		UserAttributes: []types.AttributeType{{Name: new("sub"), Value: new(paperSub)}},
	}
	if d.on {
		out.UserMFASettingList = []string{"SOFTWARE_TOKEN_MFA"}
	}
	return out, nil
}

func (d *directory) AdminGetUserAuthFactors(context.Context, *cognitoidentityprovider.AdminGetUserAuthFactorsInput, ...func(*cognitoidentityprovider.Options)) (*cognitoidentityprovider.AdminGetUserAuthFactorsOutput, error) {
	d.counted("UserRead")
	return &cognitoidentityprovider.AdminGetUserAuthFactorsOutput{UserMFASettingList: []string{"SOFTWARE_TOKEN_MFA"}}, nil
}

func (d *directory) AdminListGroupsForUser(context.Context, *cognitoidentityprovider.AdminListGroupsForUserInput, ...func(*cognitoidentityprovider.Options)) (*cognitoidentityprovider.AdminListGroupsForUserOutput, error) {
	d.counted("UserResourceRead")
	return &cognitoidentityprovider.AdminListGroupsForUserOutput{Groups: []types.GroupType{{GroupName: new("itsm_manager")}}}, nil
}

func (d *directory) AdminSetUserMFAPreference(context.Context, *cognitoidentityprovider.AdminSetUserMFAPreferenceInput, ...func(*cognitoidentityprovider.Options)) (*cognitoidentityprovider.AdminSetUserMFAPreferenceOutput, error) {
	d.counted("UserResourceUpdate")
	d.on = true
	return &cognitoidentityprovider.AdminSetUserMFAPreferenceOutput{}, nil
}

func (d *directory) AdminUserGlobalSignOut(context.Context, *cognitoidentityprovider.AdminUserGlobalSignOutInput, ...func(*cognitoidentityprovider.Options)) (*cognitoidentityprovider.AdminUserGlobalSignOutOutput, error) {
	d.counted("UserUpdate")
	return &cognitoidentityprovider.AdminUserGlobalSignOutOutput{}, nil
}

// sights are the Users of the directory; the pool's settings are kept, and cost nothing.
type sights struct {
	*cognito.Users
	*memory.Account
}

func (s sights) User(ctx context.Context, pool mfa.PoolID, sub mfa.Sub) (mfa.User, error) {
	return s.Users.User(ctx, pool, sub)
}

func (s sights) Pool(ctx context.Context, id mfa.PoolID, roles []mfa.Role, since time.Time) (mfa.Pool, error) {
	return s.Account.Pool(ctx, id, roles, since)
}

func (s sights) Members(ctx context.Context, id mfa.PoolID, role mfa.Role) iter.Seq2[mfa.Sub, error] {
	return s.Account.Members(ctx, id, role)
}

// callsOf are the calls, by quota, of the look at one disable, of one restore,
// and of the sweep's look at a user who is protected.
func callsOf(t *testing.T) (disable, restore, swept map[string]float64) {
	t.Helper()
	f, err := memory.ParseFile([]byte(`{"pools":[{"id":"` + pool + `"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	a := memory.New(f, mfa.DefaultPolicy(), mfa.DefaultDocument(), now)
	d := &directory{calls: map[string]float64{}}
	clock := func() time.Time { return now }
	w := worker.New(f.House(), worker.Ports{
		Users: sights{cognito.New(d, cognito.Options{Now: clock}), a}, Ledger: a, Timer: a, Queue: a, Alerts: a, Policy: a,
	}, clock).WithWriter(cognito.NewWriter(d, nil))
	take := func(c mfa.Change, want mfa.Verdict) map[string]float64 {
		t.Helper()
		d.calls = map[string]float64{}
		c.Pool, c.Sub = pool, paperSub
		if seen, err := w.Look(t.Context(), c); err != nil || seen.Verdict != want {
			t.Fatalf("%s: %v, %s %s, want %s", c.Kind, err, seen.Verdict, seen.Reason, want)
		}
		return d.calls
	}
	disable = take(mfa.Change{
		Kind: mfa.FactorsChanged, Key: "e-1", EventName: "AdminSetUserMFAPreference", At: now, Off: []mfa.Factor{mfa.TOTP},
		Actor: mfa.Actor{ARN: "arn:aws:sts::111122223333:assumed-role/Admin/ops-7", Type: mfa.Admin},
	}, mfa.Opens)
	now = now.Add(24 * time.Hour)
	restore = take(mfa.Change{Kind: mfa.Due, Timer: true}, mfa.Restores)
	swept = take(mfa.Change{Kind: mfa.Swept}, mfa.Ignores)
	return disable, restore, swept
}

// slowest are the quotas that let the fewest of such looks through, and how many
// a second, with a share of each quota.
func slowest(calls map[string]float64, share float64) (categories string, rate float64) {
	rate = math.Inf(1)
	for _, c := range slices.Sorted(maps.Keys(calls)) {
		switch r := quotas[c] * share / calls[c]; {
		case r < rate:
			categories, rate = "`"+c+"`", r
		case r == rate:
			categories += ", `" + c + "`"
		}
	}
	return categories, rate
}

func lasting(n, rate float64) string {
	return time.Duration(n / rate * float64(time.Second)).Round(time.Second).String()
}

// TestTheReadmeSaysHowFarItScales: 10,000 disables in a minute, of 1,000,000 users.
func TestTheReadmeSaysHowFarItScales(t *testing.T) {
	s := deploy(t, everything())
	const n = 10_000.0
	share := s.settings(t, "AuditFunction").QuotaShare
	disable, restore, swept := callsOf(t)
	t.Logf("calls of a disable %v, of a restore %v, of a sweep's look %v", disable, restore, swept)

	category, rate := slowest(disable, share)
	readme(t, fmt.Sprintf("| the last alert is on the bus | %s | %.4g a second | %s |", category, rate, lasting(n, rate)))
	kept := func(id string, rate float64) {
		p := s.Resources[id].Properties
		if wait := float64(whole(p["VisibilityTimeout"]) * whole(under(p, "RedrivePolicy", "maxReceiveCount"))); wait < n/rate {
			t.Errorf("what waits in %s may go to the dead letters after %.0f s", id, wait)
		}
	}
	kept("AuditQueue", rate)
	category, rate = slowest(restore, share)
	kept("ReenableQueue", rate)
	readme(t, fmt.Sprintf("| the last user has MFA again, after the deadline | %s | %.4g a second | %s |", category, rate, lasting(n, rate)))
	for id, what := range map[string]string{"PagerDuty": "the last page, if each disable had an actor of its own", "Slack": "the last message in Slack"} {
		limit := whole(s.Resources[id].Properties["InvocationRateLimitPerSecond"])
		readme(t, fmt.Sprintf("| %s | %s's destination | %d a second | %s |", what, id, limit, lasting(n, float64(limit))))
	}
	// EventBridge Scheduler and EventBridge where they are slowest (quotas pages).
	readme(t, fmt.Sprintf("| all timers are made | `CreateSchedule` | 250 a second | %s |", lasting(n, 250)))
	readme(t, fmt.Sprintf("| all alerts are taken by the bus | `PutEvents` | 400 a second | %s |", lasting(n, 400)))

	category, rate = slowest(swept, share)
	timeout := float64(whole(s.Resources["SweepFunction"].Properties["Timeout"]))
	limit, ok := s.parameters["SweepAgeLimit"].(int)
	if !ok {
		t.Fatalf("SweepAgeLimit is %v", s.parameters["SweepAgeLimit"])
	}
	hour := math.Floor(float64(limit)/worker.SweepEvery.Seconds()) * timeout * rate
	readme(t, fmt.Sprintf("The sweep looks at %.4g users a second (%s), %.0f in one run of %.0f s, and %.0f before the alarm `sweep-age`.", rate, category, rate*timeout, timeout, hour))
}

// prices are those of the README's table, by what is bought.
func prices(t *testing.T) map[string]float64 {
	t.Helper()
	_, table, _ := strings.Cut(contents(t, "../README.md"), "\n| bought | price | seen |\n| --- | --- | --- |\n")
	table, _, _ = strings.Cut(table, "\n\n")
	all := map[string]float64{}
	for row := range strings.Lines(table) {
		cells := strings.Split(row, " | ")
		for what := range strings.SplitSeq(strings.TrimPrefix(cells[0], "| "), ", ") {
			price, err := strconv.ParseFloat(cells[1], 64)
			if err != nil {
				t.Fatal(err)
			}
			all[what] = price
		}
	}
	return all
}

// writes are the units of DynamoDB that the README counts, which functions/trips_test.go
// measures: of a disable, a notice, a restore and any other delivery.
func writes(t *testing.T) (disable, notice, restore, other float64) {
	t.Helper()
	_, says, _ := strings.Cut(contents(t, "../README.md"), "- ledger: ")
	if _, err := fmt.Sscanf(says, "%f write units for a disable, %f for each of two notices, %f for the restore and %f for any other delivery", &disable, &notice, &restore, &other); err != nil {
		t.Fatal(err)
	}
	return disable, notice, restore, other
}

// TestTheReadmeSaysWhatItCosts in a month of 30 days.
func TestTheReadmeSaysWhatItCosts(t *testing.T) {
	s := deploy(t, parameters())
	_, _, swept := callsOf(t)
	_, rate := slowest(swept, s.settings(t, "SweepFunction").QuotaShare)
	sweeps := 30 * 24 * time.Hour.Seconds() / worker.SweepEvery.Seconds()
	price := prices(t)
	disable, notice, restore, other := writes(t)
	fixed := float64(len(s.of("AWS::CloudWatch::Alarm")))*price["alarm"] + price["dashboard"] + 30*price["metric"] + float64(len(s.of("AWS::KMS::Key")))*price["key"]
	const polls = 2 * 5 * 30 * 24 * 3600 / 20 // two queues, five pollers, 20 seconds each
	for _, users := range []float64{100, 10_000, 1_000_000} {
		holders, overrides, deliveries := users/100, users/100, 2*users
		sweep := math.Max(2, holders/rate) // seconds
		lambda := (sweeps*sweep+(deliveries+3*overrides)*0.2)*0.25*price["GB-second"] + (sweeps+deliveries+3*overrides)/1e6*price["million invocations"]
		ledger := (deliveries*other+overrides*(disable+2*notice+restore))/1e6*price["million write units"] + (sweeps*holders*2+deliveries*2)/1e6*price["million read units"]
		queues := (polls + 2*(deliveries+overrides)) / 1e6 * price["million messages"]
		logs := (deliveries + 3*overrides + sweeps) * 1.5e3 / 1e9 * price["GB of logs"]
		alerts := 4*overrides/1e6*price["million events"] + (sweeps+overrides)/1e6*price["million timers"]
		readme(t, fmt.Sprintf("| %s | %.2f | %.2f | %.2f | %.2f | %.2f | %.2f | **%.2f** |", grouped(users), fixed, lambda, ledger, queues, logs, alerts, fixed+lambda+ledger+queues+logs+alerts))
	}
}

// grouped writes a whole number with commas.
func grouped(n float64) string {
	text := fmt.Sprintf("%.0f", n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// TestTheReadmeSaysWhatToDoAboutEachAlarm, where AlarmPage's link leads.
func TestTheReadmeSaysWhatToDoAboutEachAlarm(t *testing.T) {
	_, section, _ := strings.Cut(contents(t, "../README.md"), "\n## Alarms\n")
	section, _, _ = strings.Cut(section, "\n## ")
	s := deploy(t, parameters())
	for _, id := range s.of("AWS::CloudWatch::Alarm") {
		if own := strings.TrimPrefix(text(s.Resources[id].Properties["AlarmName"]), name+"-"); !strings.Contains(section, "`"+own+"`") {
			t.Errorf("nothing about %s", own)
		}
	}
	if said := fmt.Sprintf("%d alarms, ", len(s.of("AWS::CloudWatch::Alarm"))); !strings.Contains(contents(t, "../README.md"), said) {
		t.Errorf("the cost is not of %s", said)
	}
}
