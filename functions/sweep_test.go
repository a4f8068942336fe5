package functions_test

import (
	"context"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/stackflow/relatch/internal/alert"
	"github.com/stackflow/relatch/internal/lambdatest"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/wiretest"
)

// A slow sweep comes to three users at once and then to 2.5 in a second, and takes
// 1.3 s to list the members of four roles: Cognito's quotas for these are 50 and 30
// in a second.
const slow = "RELATCH_QUOTA_SHARE=0.05"

func TestASweepGoesOnWhereItStopped(t *testing.T) {
	t.Parallel()
	s := perform(t)
	s.SetPolicy(t, `{"mfa_enforcement":{"required_roles":["super_admin","itsm_manager","cloud_admin","security_admin"],"grace_period_days":0}}`)
	var subs []mfa.Sub
	for range 18 {
		subs = append(subs, s.add(t, s.EmailPool, manager).sub)
	}
	slices.Sort(subs)
	pools := "RELATCH_POOLS=" + string(s.EmailPool)
	first, second, third := s.start(t, "./functions/sweep", slow, pools), s.start(t, "./functions/sweep", slow, pools), s.start(t, "./functions/sweep", pools)

	stopped := s.runsOutOfTime(t, first)
	begun := s.isSwept(t, subs, stopped)
	if said := endOf(t, first); said.SweepComplete != 0 || said.SweepAge == nil { // since it began
		t.Errorf("the first sweep, which was not completed, says %+v", said)
	}

	terminated := s.isTerminated(t, second, subs, begun)
	if s.isSwept(t, subs, terminated) <= begun {
		t.Errorf("the sweep that was terminated has not gone on: %+v after %+v", terminated, stopped)
	}
	if heard := s.heard(t); len(heard) > 0 {
		t.Errorf("on-call hears of what is not completed: %+v", heard)
	}

	_, err := third.Invoke(t.Context(), []byte(`{}`))
	must(t, err)
	if said := endOf(t, third); said.SweepComplete != 1 || said.SweepAge == nil || *said.SweepAge != 0 {
		t.Errorf("the sweep that came to the end says %+v", said)
	}
	if mark := s.bookmark(t); mark.Place.Sub != "" || mark.CompletedAt.IsZero() {
		t.Errorf("the bookmark at the end: %+v", mark)
	}
	heard := s.heard(t)
	same(t, "what on-call hears of the first complete sweep", []mfa.Alert{
		{Kind: mfa.PostureGap, Severity: mfa.Warning, State: mfa.StateTriggered, Incident: "posture/" + string(s.EmailPool)},
	}, states(heard))
	same(t, "who has no MFA", subs, slices.Concat(users(heard)...))

	s.runsOutOfTime(t, first)
	if said := endOf(t, first); said.SweepComplete != 0 || said.SweepAge == nil || *said.SweepAge < 1 || *said.SweepAge > 60 {
		t.Errorf("a sweep after the complete one says %+v", said)
	}
	s.isDiscreet(t)
}

func users(alerts []alert.Alert) [][]mfa.Sub {
	var all [][]mfa.Sub
	for _, a := range alerts {
		all = append(all, a.Users)
	}
	return all
}

// bookmark is what a sweep leaves to the next, as DynamoDB has it.
type bookmark struct {
	Place struct {
		Pool   mfa.PoolID
		Sub    mfa.Sub
		Failed bool
	}
	CompletedAt time.Time `json:"completed_at"`
}

func (s *stage) bookmark(t *testing.T) bookmark {
	t.Helper()
	out, err := s.DynamoDB.GetItem(t.Context(), &dynamodb.GetItemInput{TableName: new(wiretest.Table), ConsistentRead: new(true), Key: map[string]types.AttributeValue{
		"pk": &types.AttributeValueMemberS{Value: "sweep"}, "sk": &types.AttributeValueMemberS{Value: "bookmark"},
	}})
	must(t, err)
	raw, ok := out.Item["bookmark"].(*types.AttributeValueMemberS)
	if !ok {
		t.Fatalf("there is no bookmark: %+v", out.Item)
	}
	var b bookmark
	must(t, json.Unmarshal([]byte(raw.Value), &b))
	return b
}

// runsOutOfTime has a slow sweep invoked with too little time, of which it keeps a
// quarter for its end, and returns the bookmark that it leaves.
func (s *stage) runsOutOfTime(t *testing.T, sweep *lambdatest.Function) bookmark {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	_, err := sweep.Invoke(ctx, []byte(`{}`))
	must(t, err)
	return s.bookmark(t)
}

// isTerminated ends the function with SIGTERM while it sweeps, as soon as it has
// looked at two more users than those before, and returns the bookmark that it leaves.
func (s *stage) isTerminated(t *testing.T, sweep *lambdatest.Function, subs []mfa.Sub, before int) bookmark {
	t.Helper()
	answered := make(chan error, 1)
	go func() {
		_, err := sweep.Invoke(t.Context(), []byte(`{}`))
		answered <- err
	}()
	for s.seen(t, subs) < before+2 {
		select {
		case err := <-answered:
			t.Fatalf("the sweep ended by itself: %v", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
	sweep.Terminate()
	if err := <-answered; err != nil {
		t.Errorf("a sweep that was ended: %v", err)
	}
	return s.bookmark(t)
}

// seen is how many of the users a sweep has looked at: they have a standing.
func (s *stage) seen(t *testing.T, subs []mfa.Sub) int {
	t.Helper()
	n := 0
	for _, sub := range subs {
		if s.standing(t, mfa.UserJournal(s.EmailPool, sub)).Version > 0 {
			n++
		}
	}
	return n
}

// isSwept fails the test unless those users have been looked at, in the order of
// their subs, who come up to the bookmark, and returns how many they are.
func (s *stage) isSwept(t *testing.T, subs []mfa.Sub, mark bookmark) int {
	t.Helper()
	n := slices.Index(subs, mark.Place.Sub) + 1
	if n == 0 || n == len(subs) || mark.Place.Pool != s.EmailPool || mark.Place.Failed {
		t.Fatalf("the bookmark lies at %+v", mark)
	}
	for i, sub := range subs {
		if st := s.standing(t, mfa.UserJournal(s.EmailPool, sub)); (st.Version > 0) != (i < n) && i != n {
			t.Errorf("user %d, with the bookmark at %d, stands as %+v", i+1, n, st)
		}
	}
	return n
}
