package dynamo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/worker"
)

// paged makes the pages of a query small.
type paged struct {
	Client
	limit int32
}

func (p paged) Query(ctx context.Context, in *dynamodb.QueryInput, with ...func(*dynamodb.Options)) (*dynamodb.QueryOutput, error) {
	in.Limit = &p.limit
	return p.Client.Query(ctx, in, with...)
}

// cancelling cancels every transaction.
type cancelling struct {
	Client
	err error
}

func (c cancelling) TransactWriteItems(context.Context, *dynamodb.TransactWriteItemsInput, ...func(*dynamodb.Options)) (*dynamodb.TransactWriteItemsOutput, error) {
	return nil, c.err
}

func TestOnlyWhatSomebodyElseWroteIsAConflict(t *testing.T) {
	for _, c := range []struct {
		codes []string
		want  bool
	}{
		{[]string{"ConditionalCheckFailed", "None", "None"}, true},
		{[]string{"None", "ConditionalCheckFailed"}, true},
		{[]string{"TransactionConflict", "None"}, true},
		{[]string{"ConditionalCheckFailed", "TransactionConflict"}, true},
		{[]string{"ConditionalCheckFailed", "ThrottlingError"}, false},
		{[]string{"ProvisionedThroughputExceeded", "None"}, false},
		{[]string{"ValidationError"}, false},
		{[]string{"ItemCollectionSizeLimitExceeded"}, false},
		{[]string{"None"}, false},
		{nil, false},
	} {
		cancelled := &types.TransactionCanceledException{}
		for _, code := range c.codes {
			cancelled.CancellationReasons = append(cancelled.CancellationReasons, types.CancellationReason{Code: aws.String(code)})
		}
		l := New(cancelling{err: fmt.Errorf("operation error: %w", cancelled)}, testTable)
		err := l.Append(t.Context(), worker.Step{Standing: mfa.Standing{Journal: journal}})
		if !errors.As(err, &cancelled) || errors.Is(err, worker.ErrConflict) != c.want {
			t.Errorf("cancelled for %v: %v; a conflict: %t", c.codes, err, !c.want)
		}
	}
	l := New(cancelling{err: &types.TransactionInProgressException{}}, testTable)
	if err := l.Append(t.Context(), worker.Step{Standing: mfa.Standing{Journal: journal}}); err == nil || errors.Is(err, worker.ErrConflict) {
		t.Errorf("a transaction still in progress: %v", err)
	}
}

// reluctant returns at most one item at a time, and none at first.
type reluctant struct {
	Client
	calls int
	never bool
}

func (r *reluctant) BatchGetItem(_ context.Context, in *dynamodb.BatchGetItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.BatchGetItemOutput, error) {
	r.calls++
	if r.calls == 1 || r.never {
		return &dynamodb.BatchGetItemOutput{UnprocessedKeys: in.RequestItems}, nil
	}
	asked := in.RequestItems[testTable]
	key := maps.Clone(asked.Keys[0])
	if item(key).text(attrSK) == skStanding {
		key[attrStanding] = text(`{"journal":"` + journal + `","version":7}`)
	}
	out := &dynamodb.BatchGetItemOutput{Responses: map[string][]map[string]types.AttributeValue{testTable: {key}}}
	if len(asked.Keys) > 1 {
		asked.Keys = slices.Clone(asked.Keys[1:])
		out.UnprocessedKeys = map[string]types.KeysAndAttributes{testTable: asked}
	}
	return out, nil
}

func TestWhatABatchLeavesOutIsAskedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &reluctant{}
		if got, err := New(r, testTable).Load(t.Context(), worker.Query{Journal: journal, Key: "e-1"}); err != nil || got.Standing.Version != 7 || !got.Known || r.calls != 3 {
			t.Errorf("after %d calls: version %d, key known: %t, %v", r.calls, got.Standing.Version, got.Known, err)
		}
		r = &reluctant{never: true}
		if _, err := New(r, testTable).Load(t.Context(), worker.Query{Journal: journal, Key: "e-1"}); err == nil || r.calls != maxReads {
			t.Errorf("what never comes is given up after %d calls: %v", r.calls, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := New(&reluctant{never: true}, testTable).Load(ctx, worker.Query{Journal: journal, Key: "e-1"}); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled while it waits: %v", err)
		}
	})
}

func TestDueIsTheEarliestOfWhatIsOpen(t *testing.T) {
	at := func(hour int) mfa.Standing {
		return mfa.Standing{Override: &mfa.Override{Deadline: noon.AddDate(0, 0, hour)}}
	}
	both := at(2)
	both.Intention = &mfa.Intention{LeasedUntil: noon}
	noted := mfa.Standing{NotedAt: noon.AddDate(0, 0, 1), Posture: true}
	for want, s := range map[string]mfa.Standing{
		"2026-11-25T12:00:00Z": at(2), "2026-11-23T12:00:00Z": both, "2026-11-24T12:00:00Z": noted, "9999-12-31T00:00:00Z": {SignOut: true},
	} {
		if got := due(s); got != want {
			t.Errorf("due at %s, not at %s", got, want)
		}
	}
}

// lagging has an index that is behind the table: it names each journal twice, and
// others that are not open any more, or were never written.
type lagging struct {
	Client
	stale []string
}

func (l lagging) Query(ctx context.Context, in *dynamodb.QueryInput, with ...func(*dynamodb.Options)) (*dynamodb.QueryOutput, error) {
	out, err := l.Client.Query(ctx, in, with...)
	if err == nil && in.IndexName != nil {
		out.Items = append(out.Items, out.Items...)
		for _, journal := range l.stale {
			out.Items = append(out.Items, itemKey(journal, skStanding))
		}
	}
	return out, err
}

// strict refuses reads of the table that are not strongly consistent. DynamoDB
// Local would not show the difference.
type strict struct{ Client }

func (s strict) BatchGetItem(ctx context.Context, in *dynamodb.BatchGetItemInput, with ...func(*dynamodb.Options)) (*dynamodb.BatchGetItemOutput, error) {
	for _, asked := range in.RequestItems {
		if !aws.ToBool(asked.ConsistentRead) {
			return nil, errors.New("a batch is not read strongly consistent")
		}
	}
	return s.Client.BatchGetItem(ctx, in, with...)
}

func (s strict) Query(ctx context.Context, in *dynamodb.QueryInput, with ...func(*dynamodb.Options)) (*dynamodb.QueryOutput, error) {
	if in.IndexName == nil && !aws.ToBool(in.ConsistentRead) {
		return nil, errors.New("a query is not read strongly consistent")
	}
	return s.Client.Query(ctx, in, with...)
}
