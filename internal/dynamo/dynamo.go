// Package dynamo is the port worker.Ledger on a DynamoDB table: the last arrow,
// Append, and what Decide reads of the journals.
//
// It refuses to know what a standing means: it asks a standing whether it is
// Open and when it is due, so that the sweep can list it, and keeps the rest as
// bytes. There is no policy, no clock and no user pool here. It never deletes,
// and nothing expires.
//
// A journal is one partition: the standing, a cause key each and an entry each.
// A user's justifications, and their approvals, stand in his journal's partition;
// the first use of a ticket, and the count of an actor and window, in one of
// their own.
package dynamo

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/worker"
)

// Client is what the ledger needs of DynamoDB. *dynamodb.Client is one; its own
// retries are expected.
type Client interface {
	BatchGetItem(context.Context, *dynamodb.BatchGetItemInput, ...func(*dynamodb.Options)) (*dynamodb.BatchGetItemOutput, error)
	PutItem(context.Context, *dynamodb.PutItemInput, ...func(*dynamodb.Options)) (*dynamodb.PutItemOutput, error)
	Query(context.Context, *dynamodb.QueryInput, ...func(*dynamodb.Options)) (*dynamodb.QueryOutput, error)
	TransactWriteItems(context.Context, *dynamodb.TransactWriteItemsInput, ...func(*dynamodb.Options)) (*dynamodb.TransactWriteItemsOutput, error)
}

// Ledger is a ledger in one table. It may be used by many at once.
type Ledger struct {
	client Client
	table  string
}

// New returns the ledger in the table, which is as Table describes it.
func New(client Client, table string) *Ledger { return &Ledger{client: client, table: table} }

// Load implements worker.Ledger in one round trip. The items are each read
// strongly consistent, but not at one instant: whoever appends in between makes
// the caller's Append a conflict.
func (l *Ledger) Load(ctx context.Context, q worker.Query) (worker.Loaded, error) {
	keys := []item{itemKey(q.Journal, skStanding)}
	if q.Key != "" {
		keys = append(keys, itemKey(q.Journal, causeKey(q.Key)))
	}
	if q.Count != "" {
		keys = append(keys, itemKey(q.Count, skCount))
	}
	found, err := l.read(ctx, keys)
	if err != nil {
		return worker.Loaded{}, fmt.Errorf("load %s: %w", q.Journal, err)
	}
	loaded := worker.Loaded{Standing: mfa.Standing{Journal: q.Journal}}
	for _, it := range found {
		switch it.text(attrSK) {
		case skStanding:
			if loaded.Standing, err = it.standing(); err != nil {
				return worker.Loaded{}, fmt.Errorf("load %s: %w", q.Journal, err)
			}
		case skCount:
			loaded.Counted = it.subs()
		default:
			loaded.Known = true
		}
	}
	return loaded, nil
}

// Append implements worker.Ledger in one transaction. What DynamoDB cannot keep
// because it is too large is an error before anything is sent.
func (l *Ledger) Append(ctx context.Context, s worker.Step) error {
	journal := s.Standing.Journal
	standing, err := standingItem(s.Standing)
	if err != nil {
		return fmt.Errorf("append to %s: %w", journal, err)
	}
	first := l.putNew(standing)
	if v := s.Standing.Version; v != 0 {
		first.Put.ConditionExpression = aws.String("version = :version")
		first.Put.ExpressionAttributeValues = item{":version": number(v)}
	}
	// No ClientRequestToken: the SDK makes one for each call, which is the same
	// in the retries of that call and never in another one.
	in := &dynamodb.TransactWriteItemsInput{TransactItems: []types.TransactWriteItem{first}}
	if s.Key != "" {
		in.TransactItems = append(in.TransactItems, l.putNew(itemKey(journal, causeKey(s.Key))))
	}
	if s.Entry != nil {
		entry, err := entryItem(*s.Entry)
		if err != nil {
			return fmt.Errorf("append to %s: %w", journal, err)
		}
		in.TransactItems = append(in.TransactItems, l.putNew(entry))
	}
	if s.Count != nil {
		in.TransactItems = append(in.TransactItems, l.count(*s.Count))
	}
	switch _, err = l.client.TransactWriteItems(ctx, in); {
	case err == nil:
		return nil
	case conflicts(err):
		return fmt.Errorf("append to %s at version %d: %w: %w", journal, s.Standing.Version, worker.ErrConflict, err)
	default:
		return fmt.Errorf("append to %s: %w", journal, err)
	}
}

// putNew puts an item that must not be there yet.
func (l *Ledger) putNew(it item) types.TransactWriteItem {
	return types.TransactWriteItem{Put: &types.Put{
		TableName: &l.table, Item: it, ConditionExpression: aws.String("attribute_not_exists(pk)"),
	}}
}

// count gives a user the next place in a count, if it is still the next.
func (l *Ledger) count(c worker.Count) types.TransactWriteItem {
	return types.TransactWriteItem{Update: &types.Update{
		TableName: &l.table, Key: itemKey(c.Key, skCount),
		UpdateExpression:    aws.String("SET subs = list_append(if_not_exists(subs, :none), :one)"),
		ConditionExpression: aws.String("size(subs) = :before OR (:before = :zero AND attribute_not_exists(subs))"),
		ExpressionAttributeValues: item{
			":none":   &types.AttributeValueMemberL{Value: []types.AttributeValue{}},
			":one":    &types.AttributeValueMemberL{Value: []types.AttributeValue{text(string(c.Sub))}},
			":before": number(c.Place - 1), ":zero": number(0),
		},
	}}
}

// Entries yields the journal's entries, the oldest first, read strongly
// consistent. An error ends the sequence.
func (l *Ledger) Entries(ctx context.Context, journal string) iter.Seq2[mfa.Entry, error] {
	return func(yield func(mfa.Entry, error) bool) {
		for it, err := range l.query(ctx, l.partition(journal, prefixEntry)) {
			entry, err := it.entry(err)
			if err != nil {
				yield(mfa.Entry{}, fmt.Errorf("list the entries of %s: %w", journal, err))
				return
			}
			if !yield(entry, nil) {
				return
			}
		}
	}
}

// Justify records a justification under its ID, which must not be empty, and its
// ticket for the user; TicketOf is the ledger's to say, and Approver is Approve's.
// It returns what is recorded. To record it again is no error, and the first At
// stands; another justification under the same ID is one.
func (l *Ledger) Justify(ctx context.Context, pool mfa.PoolID, sub mfa.Sub, j mfa.Justification) (mfa.Justification, error) {
	recorded, err := l.justify(ctx, pool, sub, j)
	if err != nil {
		return mfa.Justification{}, fmt.Errorf("justify %s: %w", mfa.UserJournal(pool, sub), err)
	}
	return recorded, nil
}

func (l *Ledger) justify(ctx context.Context, pool mfa.PoolID, sub mfa.Sub, j mfa.Justification) (mfa.Justification, error) {
	if j.ID == "" {
		return j, errors.New("the justification has no ID")
	}
	// The ticket first: if this ends in between, it is recorded for the user
	// for whom the repeat records it.
	var err error
	if j.TicketOf, err = l.useTicket(ctx, j.Ticket, mfa.TicketUse{Pool: pool, Sub: sub, At: j.At}); err != nil {
		return j, err
	}
	j = j.Unapproved()
	it, err := justificationItem(mfa.UserJournal(pool, sub), j)
	if err != nil {
		return j, err
	}
	old, err := l.putOnce(ctx, it)
	if err != nil || old == nil {
		return j, err
	}
	recorded, err := old.justification()
	if err != nil {
		return j, err
	}
	if j.At, j.TicketOf = recorded.At, recorded.TicketOf; j != recorded {
		return j, fmt.Errorf("%s is another justification already", j.ID)
	}
	return recorded, nil
}

// Approve records an approval of the user's justification of the ID, which is
// recorded. It returns the first one, which stands.
func (l *Ledger) Approve(ctx context.Context, pool mfa.PoolID, sub mfa.Sub, id string, a mfa.Approval) (mfa.Approval, error) {
	journal := mfa.UserJournal(pool, sub)
	it, err := approvalItem(journal, id, a)
	if err != nil {
		return mfa.Approval{}, fmt.Errorf("approve %s of %s: %w", id, journal, err)
	}
	old, err := l.putOnce(ctx, it)
	if err == nil && old != nil {
		a, err = old.approval()
	}
	if err != nil {
		return mfa.Approval{}, fmt.Errorf("approve %s of %s: %w", id, journal, err)
	}
	return a, nil
}

// useTicket records the first use of a ticket, and returns it if it was for
// another user.
func (l *Ledger) useTicket(ctx context.Context, ticket string, use mfa.TicketUse) (*mfa.TicketUse, error) {
	if ticket == "" {
		return nil, nil
	}
	it, err := ticketItem(ticket, use)
	if err != nil {
		return nil, err
	}
	old, err := l.putOnce(ctx, it)
	if err != nil || old == nil {
		return nil, err
	}
	first, err := old.ticketUse()
	if err != nil || first.Of(use.Pool, use.Sub) {
		return nil, err
	}
	return &first, nil
}

// TicketUse returns the first use of a ticket, nil if there was none.
func (l *Ledger) TicketUse(ctx context.Context, ticket string) (*mfa.TicketUse, error) {
	found, err := l.read(ctx, []item{ticketKey(ticket)})
	if err == nil && len(found) > 0 {
		var use mfa.TicketUse
		if use, err = found[0].ticketUse(); err == nil {
			return &use, nil
		}
	}
	if err != nil {
		return nil, fmt.Errorf("look up ticket %s: %w", ticket, err)
	}
	return nil, nil
}

// putOnce puts an item, or returns the one that is there already.
func (l *Ledger) putOnce(ctx context.Context, it item) (item, error) {
	_, err := l.client.PutItem(ctx, &dynamodb.PutItemInput{
		TableName: &l.table, Item: it, ConditionExpression: aws.String("attribute_not_exists(pk)"),
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	})
	if old, ok := unmet(err); ok {
		return old, nil
	}
	return nil, err
}

// Justifications implements worker.Ledger. Those of one instant are in the
// order of their IDs.
func (l *Ledger) Justifications(ctx context.Context, pool mfa.PoolID, sub mfa.Sub) ([]mfa.Justification, error) {
	all, err := l.justifications(ctx, mfa.UserJournal(pool, sub))
	if err != nil {
		return nil, fmt.Errorf("list the justifications of %s: %w", mfa.UserJournal(pool, sub), err)
	}
	return all, nil
}

func (l *Ledger) justifications(ctx context.Context, journal string) ([]mfa.Justification, error) {
	var items []item
	for it, err := range l.query(ctx, l.partition(journal, prefixJustification)) {
		if err != nil {
			return nil, err
		}
		items = append(items, it)
	}
	return approved(items)
}

// Open implements worker.Ledger, those first that are due first. The index lags
// behind the table, so each standing is read strongly consistent and passed over
// if it is not open any more; one that was opened a moment ago may be missing.
// The whole list is taken before the first standing is yielded: whoever lists
// also appends, which moves what is listed.
func (l *Ledger) Open(ctx context.Context, pool mfa.PoolID) iter.Seq2[mfa.Standing, error] {
	return l.indexed(ctx, string(pool), (*mfa.Standing).Open)
}

// Incidents yields the standings with open incidents that Open does not yield: of
// pools, of the policy, of the guard, and of users whose override has ended. They
// are read as Open reads.
func (l *Ledger) Incidents(ctx context.Context) iter.Seq2[mfa.Standing, error] {
	return l.indexed(ctx, house, func(s *mfa.Standing) bool { return len(s.Incidents) > 0 })
}

// indexed yields the standings in a partition of the index that are wanted now.
func (l *Ledger) indexed(ctx context.Context, pool string, wanted func(*mfa.Standing) bool) iter.Seq2[mfa.Standing, error] {
	return func(yield func(mfa.Standing, error) bool) {
		keys, err := l.listed(ctx, pool)
		if err != nil {
			yield(mfa.Standing{}, fmt.Errorf("list what is open in %s: %w", pool, err))
			return
		}
		for batch := range slices.Chunk(keys, maxBatch) {
			standings, err := l.standings(ctx, batch)
			if err != nil {
				yield(mfa.Standing{}, fmt.Errorf("read what is open in %s: %w", pool, err))
				return
			}
			for _, key := range batch {
				if s, ok := standings[key.text(attrPK)]; ok && wanted(&s) && !yield(s, nil) {
					return
				}
			}
		}
	}
}

// listed returns the keys of the standings in the index, each once.
func (l *Ledger) listed(ctx context.Context, pool string) ([]item, error) {
	var keys []item
	seen := map[string]bool{}
	for it, err := range l.query(ctx, &dynamodb.QueryInput{
		TableName: &l.table, IndexName: aws.String(Index), KeyConditionExpression: aws.String("#pool = :pool"),
		ExpressionAttributeNames:  map[string]string{"#pool": attrPool},
		ExpressionAttributeValues: item{":pool": text(short(pool))},
	}) {
		if err != nil {
			return nil, err
		}
		if pk := it.text(attrPK); !seen[pk] {
			seen[pk] = true
			keys = append(keys, item{attrPK: it[attrPK], attrSK: it[attrSK]})
		}
	}
	return keys, nil
}

func (l *Ledger) standings(ctx context.Context, keys []item) (map[string]mfa.Standing, error) {
	found, err := l.read(ctx, keys)
	if err != nil {
		return nil, err
	}
	standings := make(map[string]mfa.Standing, len(found))
	for _, it := range found {
		s, err := it.standing()
		if err != nil {
			return nil, err
		}
		standings[it.text(attrPK)] = s
	}
	return standings, nil
}

const (
	// maxBatch is how many items BatchGetItem takes.
	maxBatch = 100
	// maxReads is how often a batch is asked for before DynamoDB's leaving some
	// of it out is an error, and maxWait the longest pause between two times.
	maxReads = 8
	maxWait  = 2 * time.Second
)

// read returns those of at most maxBatch items that exist, in any order.
func (l *Ledger) read(ctx context.Context, keys []item) ([]item, error) {
	backoff := retry.NewExponentialJitterBackoff(maxWait)
	var found []item
	left := map[string]types.KeysAndAttributes{l.table: {Keys: plain(keys), ConsistentRead: aws.Bool(true)}}
	for attempt := range maxReads {
		out, err := l.client.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{RequestItems: left})
		if err != nil {
			return nil, err
		}
		for _, items := range out.Responses {
			for _, it := range items {
				found = append(found, it)
			}
		}
		if left = out.UnprocessedKeys; len(left) == 0 {
			return found, nil
		}
		delay, err := backoff.BackoffDelay(attempt, nil)
		if err != nil {
			return nil, err
		}
		if err := wait(ctx, delay); err != nil {
			return nil, err
		}
	}
	return nil, errors.New("DynamoDB did not return all items")
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// partition asks for a journal's items whose sort key begins so.
func (l *Ledger) partition(journal, prefix string) *dynamodb.QueryInput {
	return &dynamodb.QueryInput{
		TableName: &l.table, ConsistentRead: aws.Bool(true),
		KeyConditionExpression:    aws.String("pk = :pk AND begins_with(sk, :prefix)"),
		ExpressionAttributeValues: item{":pk": text(short(journal)), ":prefix": text(prefix)},
	}
}

// query yields the items of all pages. An error ends the sequence.
func (l *Ledger) query(ctx context.Context, in *dynamodb.QueryInput) iter.Seq2[item, error] {
	return func(yield func(item, error) bool) {
		for pages := dynamodb.NewQueryPaginator(l.client, in); pages.HasMorePages(); {
			page, err := pages.NextPage(ctx)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, it := range page.Items {
				if !yield(it, nil) {
					return
				}
			}
		}
	}
}
