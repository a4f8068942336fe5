package dynamo

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/stackflow/relatch/internal/mfa"
)

// Index is the sparse index of what is open and of other incidents: an item is in it while it has both
// attributes.
const Index = "open"

// The attributes. The names stand in expressions too.
const (
	attrPK            = "pk"
	attrSK            = "sk"
	attrVersion       = "version"
	attrStanding      = "standing" // as JSON
	attrPool          = "pool"     // only while the standing is listed
	attrDue           = "due"      // only while the standing is listed
	attrJournal       = "journal"
	attrNumber        = "number"
	attrPrev          = "prev"
	attrHash          = "hash"
	attrRecord        = "record" // the very bytes that were hashed
	attrJustification = "justification"
	attrApproval      = "approval"
	attrSubs          = "subs"
	attrUse           = "use"
)

// The sort keys.
const (
	skStanding          = "standing"
	skCount             = "count"
	skUse               = "use"
	prefixEntry         = "entry/"
	prefixLong          = "long/" // of the key of a name that is hashed
	prefixJustification = "justification/"
	suffixApproval      = "/approval" // after the sort key of the justification
)

// Table describes the table, as the tests make it and the template must.
func Table(name string) *dynamodb.CreateTableInput {
	attribute := func(name string) types.AttributeDefinition {
		return types.AttributeDefinition{AttributeName: aws.String(name), AttributeType: types.ScalarAttributeTypeS}
	}
	keys := func(hash, sort string) []types.KeySchemaElement {
		return []types.KeySchemaElement{
			{AttributeName: aws.String(hash), KeyType: types.KeyTypeHash},
			{AttributeName: aws.String(sort), KeyType: types.KeyTypeRange},
		}
	}
	return &dynamodb.CreateTableInput{
		TableName: aws.String(name), BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{attribute(attrPK), attribute(attrSK), attribute(attrPool), attribute(attrDue)},
		KeySchema:            keys(attrPK, attrSK),
		GlobalSecondaryIndexes: []types.GlobalSecondaryIndex{{
			IndexName: aws.String(Index), KeySchema: keys(attrPool, attrDue),
			Projection: &types.Projection{ProjectionType: types.ProjectionTypeKeysOnly},
		}},
	}
}

// The limits of DynamoDB (Developer Guide, "Quotas in Amazon DynamoDB").
const (
	maxItem = 400 * 1024 // bytes of names and values
	// maxName keeps a name, with what stands before it, below the 1,024 bytes
	// of a sort key.
	maxName = 960
)

// short returns the name, or a hash of one that is too long to be part of a key.
// No journal begins as the hash does.
func short(name string) string {
	if len(name) <= maxName {
		return name
	}
	return prefixLong + sum(name)
}

func causeKey(key string) string {
	if len(key) <= maxName {
		return "key/" + key
	}
	return "long-key/" + sum(key)
}

func sum(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:])
}

// item is one item, or its key.
type item map[string]types.AttributeValue

func itemKey(partition, sort string) item {
	return item{attrPK: text(short(partition)), attrSK: text(sort)}
}

func plain(items []item) []map[string]types.AttributeValue {
	all := make([]map[string]types.AttributeValue, len(items))
	for i, it := range items {
		all[i] = it
	}
	return all
}

func text(s string) *types.AttributeValueMemberS { return &types.AttributeValueMemberS{Value: s} }

func number(n int) *types.AttributeValueMemberN {
	return &types.AttributeValueMemberN{Value: strconv.Itoa(n)}
}

// text returns a string attribute, empty if there is none.
func (it item) text(name string) string {
	if s, ok := it[name].(*types.AttributeValueMemberS); ok {
		return s.Value
	}
	return ""
}

// number returns a number attribute.
func (it item) number(name string) (int, error) {
	n, ok := it[name].(*types.AttributeValueMemberN)
	if !ok {
		return 0, fmt.Errorf("there is no number %s", name)
	}
	return strconv.Atoi(n.Value)
}

// fits returns the item unless it is larger than DynamoDB takes.
func (it item) fits(what string) (item, error) {
	size := 0
	for name, value := range it {
		size += len(name)
		switch v := value.(type) {
		case *types.AttributeValueMemberS:
			size += len(v.Value)
		case *types.AttributeValueMemberN:
			size += len(v.Value) + 1
		}
	}
	if size > maxItem {
		return nil, fmt.Errorf("the %s has %d bytes, and DynamoDB keeps at most %d", what, size, maxItem)
	}
	return it, nil
}

// standingItem is the standing under its next version.
func standingItem(s mfa.Standing) (item, error) {
	s.Version++
	raw, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("write the standing: %w", err)
	}
	it := itemKey(s.Journal, skStanding)
	it[attrVersion], it[attrStanding] = number(s.Version), text(string(raw))
	pool, user := poolOf(s.Journal)
	if !s.Open() {
		pool = house
	}
	if user && s.Open() || len(s.Incidents) > 0 {
		it[attrPool], it[attrDue] = text(short(pool)), text(due(s)+"/"+short(s.Journal))
	}
	return it.fits("standing")
}

// house stands in the index for the pool of what has incidents that no sweep
// looks at: the journals of pools, of the policy and of the guard, and of users
// with nothing else open. A pool's id has an underscore.
const house = "house"

// poolOf returns the pool of a user's journal, or house of another one.
func poolOf(journal string) (pool string, user bool) {
	rest, ok := strings.CutPrefix(journal, "user/")
	if pool, _, _ = strings.Cut(rest, "/"); !ok || pool == "" {
		return house, false
	}
	return pool, true
}

// due is when the standing is due, as text in the order of time. What has no
// time comes last.
func due(s mfa.Standing) string {
	at := s.DueAt()
	if at.IsZero() {
		at = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)
	}
	return at.UTC().Format(time.RFC3339)
}

func (it item) standing() (mfa.Standing, error) {
	var s mfa.Standing
	if err := json.Unmarshal([]byte(it.text(attrStanding)), &s); err != nil {
		return mfa.Standing{}, fmt.Errorf("read the standing: %w", err)
	}
	return s, nil
}

// entryKey sorts as the numbers do.
func entryKey(n int) string { return fmt.Sprintf("%s%010d", prefixEntry, n) }

func entryItem(e mfa.Entry) (item, error) {
	// As text an administrator can read it. Only text comes back as the very
	// bytes; a record is JSON, which is text.
	if !utf8.Valid(e.Record) {
		return nil, errors.New("the entry's record is not text")
	}
	it := itemKey(e.Journal, entryKey(e.Number))
	it[attrJournal], it[attrNumber] = text(e.Journal), number(e.Number)
	it[attrPrev], it[attrHash], it[attrRecord] = text(e.Prev), text(e.Hash), text(string(e.Record))
	return it.fits("entry")
}

// entry reads an entry unless there was an error before.
func (it item) entry(err error) (mfa.Entry, error) {
	if err != nil {
		return mfa.Entry{}, err
	}
	n, err := it.number(attrNumber)
	if err != nil {
		return mfa.Entry{}, fmt.Errorf("read the entry: %w", err)
	}
	return mfa.Entry{
		Journal: it.text(attrJournal), Number: n, Prev: it.text(attrPrev), Hash: it.text(attrHash), Record: []byte(it.text(attrRecord)),
	}, nil
}

// justificationItem is keyed by the ID alone, so that a repeat with another time
// is a repeat.
func justificationItem(journal string, j mfa.Justification) (item, error) {
	raw, err := json.Marshal(j)
	if err != nil {
		return nil, fmt.Errorf("write the justification: %w", err)
	}
	it := itemKey(journal, prefixJustification+short(j.ID))
	it[attrJustification] = text(string(raw))
	return it.fits("justification")
}

func (it item) justification() (mfa.Justification, error) {
	var j mfa.Justification
	if err := json.Unmarshal([]byte(it.text(attrJustification)), &j); err != nil {
		return mfa.Justification{}, fmt.Errorf("read the justification: %w", err)
	}
	return j, nil
}

// approvalItem is the approval of the justification of the ID.
func approvalItem(journal, id string, a mfa.Approval) (item, error) {
	raw, err := json.Marshal(a)
	if err != nil {
		return nil, fmt.Errorf("write the approval: %w", err)
	}
	it := itemKey(journal, prefixJustification+short(id)+suffixApproval)
	it[attrApproval] = text(string(raw))
	return it.fits("approval")
}

func (it item) approval() (mfa.Approval, error) {
	var a mfa.Approval
	if err := json.Unmarshal([]byte(it.text(attrApproval)), &a); err != nil {
		return mfa.Approval{}, fmt.Errorf("read the approval: %w", err)
	}
	return a, nil
}

// approved reads a user's justifications and puts the approvals to them.
func approved(items []item) ([]mfa.Justification, error) {
	var all []mfa.Justification
	approvals := map[string]mfa.Approval{}
	for _, it := range items {
		if it[attrApproval] != nil {
			a, err := it.approval()
			if err != nil {
				return nil, err
			}
			approvals[strings.TrimSuffix(it.text(attrSK), suffixApproval)] = a
			continue
		}
		j, err := it.justification()
		if err != nil {
			return nil, err
		}
		all = append(all, j)
	}
	for i := range all {
		a := approvals[prefixJustification+short(all[i].ID)]
		all[i].Approver, all[i].ApprovedAt = a.Approver, a.At
	}
	slices.SortStableFunc(all, func(a, b mfa.Justification) int { return a.At.Compare(b.At) })
	return all, nil
}

// ticketKey is where the first use of a ticket stands, in a partition of its own.
func ticketKey(ticket string) item { return itemKey("ticket/"+ticket, skUse) }

func ticketItem(ticket string, use mfa.TicketUse) (item, error) {
	raw, err := json.Marshal(use)
	if err != nil {
		return nil, fmt.Errorf("write the ticket's use: %w", err)
	}
	it := ticketKey(ticket)
	it[attrUse] = text(string(raw))
	return it.fits("ticket's use")
}

func (it item) ticketUse() (mfa.TicketUse, error) {
	var use mfa.TicketUse
	if err := json.Unmarshal([]byte(it.text(attrUse)), &use); err != nil {
		return mfa.TicketUse{}, fmt.Errorf("read the ticket's use: %w", err)
	}
	return use, nil
}

// subs are the users counted, in the order in which they came.
func (it item) subs() []mfa.Sub {
	list, ok := it[attrSubs].(*types.AttributeValueMemberL)
	if !ok {
		return nil
	}
	subs := make([]mfa.Sub, 0, len(list.Value))
	for _, v := range list.Value {
		if s, ok := v.(*types.AttributeValueMemberS); ok {
			subs = append(subs, mfa.Sub(s.Value))
		}
	}
	return subs
}
